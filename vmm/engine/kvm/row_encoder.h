// Owns the making of one instruction's bytes from its row of the instruction table.
// Knows no processor. Stateless; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction.h"

namespace chronovisor::kvm {

/// What the operands of an encoded instruction are.
struct EncodedOperands {
  static constexpr unsigned kRegister = 3;  ///< rBX, EBX, XMM3: ModRM.rm and +r
  std::uint64_t absolute_address = 0;       ///< of moffs operands
  std::uint16_t code_selector = 0;          ///< of far pointers
  std::uint32_t far_offset = 0;
};

/// The instruction of row number `index`: with ModRM, its reg field names register 0
/// unless the row fixes it, and its rm field EncodedOperands::kRegister or, with
/// `memory`, what rSI points to. `prefix` comes first, unless 0. Relative branches
/// go to the next instruction.
/// @return nothing where the bytes do not decode to that row in `mode`
[[nodiscard]] std::optional<Bytes> encode_row(std::uint16_t index, bool memory, std::uint8_t prefix,
                                              const DecodeMode& mode,
                                              const EncodedOperands& operands);

}  // namespace chronovisor::kvm
