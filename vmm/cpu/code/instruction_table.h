// Owns the gathering of all rows into one table. Built once, immutable.
#pragma once

#include <span>

#include "vmm/cpu/code/instruction.h"

namespace chronovisor {

std::span<const Row> integer_rows();  ///< data movement, arithmetic, shifts, bits, BCD, strings
std::span<const Row> control_rows();  ///< near branches, stack, flags
std::span<const Row> system_rows();   ///< segments, far transfers, I/O, system registers
std::span<const Row> x87_rows();
std::span<const Row> sse_rows();  ///< MMX, SSE-SSE4.2, AES, PCLMULQDQ

/// All rows, in the order above; Instruction::row indexes it.
std::span<const Row> instruction_table();

}  // namespace chronovisor
