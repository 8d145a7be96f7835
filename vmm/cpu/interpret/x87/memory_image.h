// Owns the layouts of the x87 state in memory: 80-bit values and the four
// forms of the FSTENV and FSAVE images. One thread a machine.
// Source: SDM vol. 1, figures 8-9 to 8-12.
#pragma once

#include <cstdint>

#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::x87 {

/// The 10-byte value `offset` bytes into the memory operand, copied bit by bit.
[[nodiscard]] X87Register load_extended(Cpu& cpu, const Instruction& i, unsigned offset = 0);
/// Stores all of it or faults before the first byte.
void store_extended(Cpu& cpu, const Instruction& i, const X87Register& value, unsigned offset = 0);

/// FNSTENV: the environment as the mode and operand size lay it out.
void store_environment(Cpu& cpu, const Instruction& i);
/// FLDENV. FCS and FDS are not kept: they are always 0.
void load_environment(Cpu& cpu, const Instruction& i);
/// FNSAVE, without the initialization that follows it.
void store_all(Cpu& cpu, const Instruction& i);
/// FRSTOR.
void load_all(Cpu& cpu, const Instruction& i);

}  // namespace chronovisor::x87
