// Owns turning instruction bytes into an Instruction, by the rows of the
// instruction table and nothing else. Knows no memory and no CPU state beyond
// the DecodeMode. Stateless after its index is built; any thread.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/state/mode.h"

namespace chronovisor {

enum class DecodeStatus : std::uint8_t {
  ok,         ///< `out` is complete; undefined opcodes decode to a handler that raises #UD
  need_more,  ///< the bytes end inside the instruction
};

inline constexpr unsigned kLongestInstruction = 15;
/// Row number of bytes that no row describes.
inline constexpr std::uint16_t kNoRow = 0xffff;

/// Decodes the instruction at the start of `bytes`. `out.start_offset` must be
/// set by the caller; `out.next_offset` is set from it. An instruction longer
/// than 15 bytes decodes to a handler that raises #GP(0).
/// Source: SDM vol. 2A, "Instruction Format"; vol. 2D, "Opcode Map".
DecodeStatus decode(const DecodeMode& mode, ByteView bytes, Instruction& out);

/// What bytes that are no instruction decode to; interpret/ has them.
void undefined_instruction(Cpu& cpu, const Instruction& instruction);  ///< raises #UD
void instruction_too_long(Cpu& cpu, const Instruction& instruction);   ///< raises #GP(0)

/// Attributes of a decoded instruction's row; kEndsBlock for undefined ones.
[[nodiscard]] std::uint32_t row_attributes(const Instruction& instruction);

}  // namespace chronovisor
