#include "vmm/engine/kvm/row_encoder.h"

#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::kvm {
namespace {

class Encoder {
 public:
  Encoder(const Row& row, const DecodeMode& mode, const EncodedOperands& operands)
      : row_(row), mode_(mode), operands_(operands) {}

  Bytes encode(bool memory, std::uint8_t prefix) {
    if (prefix != 0) byte(prefix);
    switch (row_.prefix) {
      case MandatoryPrefix::p66:
        byte(0x66);
        break;
      case MandatoryPrefix::pf3:
        byte(0xf3);
        break;
      case MandatoryPrefix::pf2:
        byte(0xf2);
        break;
      default:
        break;
    }
    if (row_.map != OpcodeMap::primary) byte(0x0f);
    if (row_.map == OpcodeMap::map_0f38) byte(0x38);
    if (row_.map == OpcodeMap::map_0f3a) byte(0x3a);
    const bool plus = (row_.attributes & kPlusRegister) != 0;
    byte(row_.opcode + (plus ? EncodedOperands::kRegister : 0));
    if (row_.modrm != ModRm::absent) modrm(memory);
    immediate();
    return std::move(out_);
  }

 private:
  void byte(unsigned value) { out_.push_back(static_cast<std::uint8_t>(value)); }
  void number(std::uint64_t value, unsigned size) {
    for (unsigned n = 0; n < size; ++n) byte(static_cast<unsigned>(value >> (8 * n)) & 0xff);
  }
  void modrm(bool memory) {
    const unsigned reg = row_.reg >= 0 ? static_cast<unsigned>(row_.reg) : 0;
    const unsigned address_16 = mode_.code_width == 2 && !mode_.long64;
    const unsigned pointer = address_16 != 0 ? 4 : 6;  // [SI] or [rSI]
    const unsigned rm = row_.rm >= 0 ? static_cast<unsigned>(row_.rm)
                        : memory     ? pointer
                                     : EncodedOperands::kRegister;
    byte((memory ? 0U : 0xc0U) | (reg << 3) | rm);
  }
  void immediate() {
    const unsigned z = mode_.long64 || mode_.code_width == 4 ? 4 : 2;
    const unsigned z66 = row_.prefix == MandatoryPrefix::p66 ? 6 - z : z;
    const bool bytes = (row_.attributes & kByteOperand) != 0;
    switch (row_.immediate) {
      case Immediate::none:
        break;
      case Immediate::imm8:
      case Immediate::imm8_zero:
        byte(1);
        break;
      case Immediate::imm16:
        number(8, 2);
        break;
      case Immediate::imm_z:
      case Immediate::imm_v:
        number(1, bytes ? 1 : z66);
        break;
      case Immediate::imm16_imm8:
        number(8, 3);
        break;
      case Immediate::far_pointer:
        number(operands_.far_offset, z);
        number(operands_.code_selector, 2);
        break;
      case Immediate::moffs:
        number(operands_.absolute_address, mode_.long64 ? 8 : z);
        break;
      case Immediate::rel8:
        byte(0);
        break;
      case Immediate::rel_z:
        number(0, z);
        break;
    }
  }

  const Row& row_;
  const DecodeMode& mode_;
  const EncodedOperands& operands_;
  Bytes out_;
};

}  // namespace

std::optional<Bytes> encode_row(std::uint16_t index, bool memory, std::uint8_t prefix,
                                const DecodeMode& mode, const EncodedOperands& operands) {
  const Row& row = instruction_table()[index];
  if (memory && row.modrm != ModRm::any && row.modrm != ModRm::memory) return std::nullopt;
  if (!memory && row.modrm == ModRm::memory) return std::nullopt;
  Bytes bytes = Encoder(row, mode, operands).encode(memory, prefix);
  Instruction decoded;
  if (decode(mode, bytes, decoded) != DecodeStatus::ok) return std::nullopt;
  if (decoded.row != index || decoded.length() != bytes.size()) return std::nullopt;
  return bytes;
}

}  // namespace chronovisor::kvm
