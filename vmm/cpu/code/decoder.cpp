#include "vmm/cpu/code/decoder.h"

#include <array>
#include <bit>
#include <vector>

#include "base/error.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor {
namespace {

/// For each opcode of each map, the rows that could describe it.
class Index {
 public:
  Index() {
    const std::span<const Row> table = instruction_table();
    CHECK_THAT(table.size() < kNoRow, "row numbers are 16 bits");
    for (std::size_t r = 0; r < table.size(); ++r) {
      const Row& row = table[r];
      const unsigned span = (row.attributes & kPlusRegister) != 0 ? 8 : 1;
      for (unsigned k = 0; k < span; ++k) {
        Entry& entry = entries_[static_cast<unsigned>(row.map)][row.opcode + k];
        entry.rows.push_back(static_cast<std::uint16_t>(r));
        entry.has_modrm = entry.has_modrm || row.modrm != ModRm::absent;
      }
    }
  }
  struct Entry {
    std::vector<std::uint16_t> rows;
    bool has_modrm = false;
  };
  [[nodiscard]] const Entry& at(OpcodeMap map, std::uint8_t opcode) const {
    return entries_[static_cast<unsigned>(map)][opcode];
  }

 private:
  std::array<std::array<Entry, 256>, 4> entries_;
};

const Index& index() {
  static const Index the_index;
  return the_index;
}

constexpr std::uint8_t kNoSegmentOverride = 0xff;

struct Prefixes {
  bool operand_size = false;
  bool address_size = false;
  bool lock = false;
  std::uint8_t repeat = 0;
  std::uint8_t segment = kNoSegmentOverride;
  std::uint8_t rex = 0;
  [[nodiscard]] bool w() const { return (rex & 8) != 0; }
  [[nodiscard]] unsigned r() const { return (rex & 4U) << 1; }
  [[nodiscard]] unsigned x() const { return (rex & 2U) << 2; }
  [[nodiscard]] unsigned b() const { return (rex & 1U) << 3; }
};

/// Thrown inside this file only: the bytes end.
struct OutOfBytes {};

class Reader {
 public:
  explicit Reader(ByteView bytes) : bytes_(bytes) {}
  std::uint8_t byte() {
    if (at_ >= bytes_.size()) throw OutOfBytes{};
    return bytes_[at_++];
  }
  std::uint64_t value(unsigned size) {
    std::uint64_t v = 0;
    for (unsigned k = 0; k < size; ++k) v |= std::uint64_t{byte()} << (8 * k);
    return v;
  }
  std::uint64_t sign_extended(unsigned size) {
    const unsigned shift = 64 - 8 * size;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value(size) << shift) >> shift);
  }
  [[nodiscard]] unsigned offset() const { return static_cast<unsigned>(at_); }

 private:
  ByteView bytes_;
  std::size_t at_ = 0;
};

std::uint8_t read_prefixes(const DecodeMode& mode, Reader& reader, Prefixes& prefixes) {
  while (true) {
    const std::uint8_t byte = reader.byte();
    switch (byte) {
      case 0x26:
        if (!mode.long64) prefixes.segment = kEs;
        break;
      case 0x2e:
        if (!mode.long64) prefixes.segment = kCs;
        break;
      case 0x36:
        if (!mode.long64) prefixes.segment = kSs;
        break;
      case 0x3e:
        if (!mode.long64) prefixes.segment = kDs;
        break;
      case 0x64:
        prefixes.segment = kFs;
        break;
      case 0x65:
        prefixes.segment = kGs;
        break;
      case 0x66:
        prefixes.operand_size = true;
        break;
      case 0x67:
        prefixes.address_size = true;
        break;
      case 0xf0:
        prefixes.lock = true;
        break;
      case 0xf2:
      case 0xf3:
        prefixes.repeat = byte;
        break;
      default:
        if (mode.long64 && (byte & 0xf0) == 0x40) {
          prefixes.rex = byte;  // counts only if the opcode follows at once
          continue;
        }
        return byte;
    }
    prefixes.rex = 0;
    if (reader.offset() > kLongestInstruction) return 0x90;
  }
}

MandatoryPrefix mandatory_prefix(const Prefixes& prefixes) {
  if (prefixes.repeat == 0xf3) return MandatoryPrefix::pf3;
  if (prefixes.repeat == 0xf2) return MandatoryPrefix::pf2;
  return prefixes.operand_size ? MandatoryPrefix::p66 : MandatoryPrefix::none;
}

bool row_fits(const Row& row, const DecodeMode& mode, std::uint8_t modrm) {
  if (mode.long64 ? (row.attributes & kInvalid64) != 0 : (row.attributes & kOnly64) != 0)
    return false;
  if (!mode.protected_mode && (row.attributes & kNotInRealMode) != 0) return false;
  if (row.modrm == ModRm::absent) return true;
  const bool names_register = modrm >= 0xc0;
  if (row.modrm == ModRm::memory && names_register) return false;
  if (row.modrm == ModRm::registers && !names_register) return false;
  if (row.reg >= 0 && row.reg != ((modrm >> 3) & 7)) return false;
  return row.rm < 0 || row.rm == (modrm & 7);
}

std::uint16_t choose_row(const Index::Entry& entry, const DecodeMode& mode,
                         const Prefixes& prefixes, std::uint8_t modrm) {
  const std::span<const Row> table = instruction_table();
  const MandatoryPrefix prefix = mandatory_prefix(prefixes);
  for (const MandatoryPrefix wanted : {prefix, MandatoryPrefix::any}) {
    for (const std::uint16_t r : entry.rows) {
      if (table[r].prefix == wanted && row_fits(table[r], mode, modrm)) return r;
    }
  }
  return kNoRow;
}

void read_memory_operand_16(Reader& reader, Instruction& out) {
  static constexpr std::array<std::uint8_t, 8> kBase{kRbx, kRbx, kRbp, kRbp,
                                                     kRsi, kRdi, kRbp, kRbx};
  static constexpr std::array<std::uint8_t, 8> kIndexOf{kRsi,     kRdi,     kRsi,     kRdi,
                                                        kGprZero, kGprZero, kGprZero, kGprZero};
  const unsigned mod = out.modrm >> 6;
  const unsigned rm = out.modrm & 7;
  if (mod == 0 && rm == 6) {
    out.displacement = static_cast<std::int32_t>(reader.sign_extended(2));
    return;
  }
  out.base = kBase[rm];
  out.index = kIndexOf[rm];
  if (out.base == kRbp) out.segment = kSs;
  if (mod != 0)
    out.displacement = static_cast<std::int32_t>(reader.sign_extended(mod == 1 ? 1 : 2));
}

void read_memory_operand(const DecodeMode& mode, const Prefixes& prefixes, Reader& reader,
                         Instruction& out) {
  out.memory = true;
  out.segment = kDs;
  const unsigned mod = out.modrm >> 6;
  if (out.address_size == 2) {
    read_memory_operand_16(reader, out);
  } else {
    unsigned base = out.modrm & 7U;
    unsigned displacement_size = mod == 1 ? 1 : (mod == 2 ? 4 : 0);
    if (base == 4) {
      const std::uint8_t sib = reader.byte();
      base = sib & 7U;
      const unsigned scaled = ((sib >> 3) & 7U) | prefixes.x();
      if (scaled != 4) {
        out.index = static_cast<std::uint8_t>(scaled);
        out.scale = static_cast<std::uint8_t>(sib >> 6);
      }
      if (base == 5 && mod == 0) {
        out.base = kGprZero;
        displacement_size = 4;
      } else {
        out.base = static_cast<std::uint8_t>(base | prefixes.b());
      }
    } else if (base == 5 && mod == 0) {
      out.base = mode.long64 ? kGprRip : kGprZero;
      displacement_size = 4;
    } else {
      out.base = static_cast<std::uint8_t>(base | prefixes.b());
    }
    if (out.base == kRsp || out.base == kRbp) out.segment = kSs;
    if (displacement_size != 0) {
      out.displacement = static_cast<std::int32_t>(reader.sign_extended(displacement_size));
    }
  }
  if (prefixes.segment != kNoSegmentOverride) out.segment = prefixes.segment;
}

std::uint8_t operand_size(const DecodeMode& mode, const Prefixes& prefixes,
                          std::uint32_t attributes) {
  if ((attributes & kByteOperand) != 0) return 1;
  if (mode.long64 && (attributes & kForce64) != 0) return 8;
  if (prefixes.w()) return 8;
  if ((attributes & kIgnore66) != 0) return 4;
  if (mode.long64 && (attributes & kDefault64) != 0) return prefixes.operand_size ? 2 : 8;
  return (mode.code_width == 4) == prefixes.operand_size ? 2 : 4;
}

std::uint8_t byte_register(unsigned number, bool rex) {
  return static_cast<std::uint8_t>(!rex && number >= 4 && number < 8 ? (number - 4) | kHighByte
                                                                     : number);
}

void read_immediate(const DecodeMode& mode, Immediate kind, Reader& reader, Instruction& out) {
  const unsigned z = out.operand_size == 2 ? 2 : 4;
  switch (kind) {
    case Immediate::none:
      break;
    case Immediate::imm8:
    case Immediate::rel8:
      out.immediate = reader.sign_extended(1);
      break;
    case Immediate::imm8_zero:
      out.immediate = reader.value(1);
      break;
    case Immediate::imm16:
      out.immediate = reader.value(2);
      break;
    case Immediate::imm_z:
      out.immediate = reader.sign_extended(out.operand_size == 1 ? 1 : z);
      break;
    case Immediate::imm_v:
      out.immediate = reader.sign_extended(out.operand_size);
      break;
    case Immediate::imm16_imm8:
      out.immediate = reader.value(2);
      out.immediate2 = reader.byte();
      break;
    case Immediate::far_pointer:
      out.immediate = reader.value(z);
      out.immediate2 = static_cast<std::uint16_t>(reader.value(2));
      break;
    case Immediate::moffs:
      out.immediate = reader.value(out.address_size);
      break;
    case Immediate::rel_z:
      out.immediate = reader.sign_extended(mode.long64 ? 4 : z);
      break;
  }
}

OpcodeMap read_opcode(Reader& reader, std::uint8_t first, std::uint8_t& opcode) {
  opcode = first;
  if (first != 0x0f) return OpcodeMap::primary;
  opcode = reader.byte();
  if (opcode == 0x38) {
    opcode = reader.byte();
    return OpcodeMap::map_0f38;
  }
  if (opcode == 0x3a) {
    opcode = reader.byte();
    return OpcodeMap::map_0f3a;
  }
  return OpcodeMap::map_0f;
}

void decode_registers(const Row& row, const Prefixes& prefixes, Instruction& out) {
  const bool rex = prefixes.rex != 0;
  const bool byte_reg = (row.attributes & (kByteOperand | kByteReg)) != 0;
  const bool byte_rm = (row.attributes & (kByteOperand | kByteRm)) != 0;
  if ((row.attributes & kPlusRegister) != 0) {
    const unsigned number = (out.opcode & 7U) | prefixes.b();
    out.reg = byte_reg ? byte_register(number, rex) : static_cast<std::uint8_t>(number);
  }
  if (row.modrm == ModRm::absent) return;
  const unsigned reg = ((out.modrm >> 3) & 7U) | prefixes.r();
  out.reg = byte_reg ? byte_register(reg, rex) : static_cast<std::uint8_t>(reg);
  if (!out.memory) {
    const unsigned rm = (out.modrm & 7U) | prefixes.b();
    out.rm = byte_rm ? byte_register(rm, rex) : static_cast<std::uint8_t>(rm);
  }
}

void decode_bytes(const DecodeMode& mode, Reader& reader, Instruction& out) {
  Prefixes prefixes;
  const std::uint8_t first = read_prefixes(mode, reader, prefixes);
  const OpcodeMap map = read_opcode(reader, first, out.opcode);
  const Index::Entry& entry = index().at(map, out.opcode);
  out.handler = undefined_instruction;
  out.row = kNoRow;
  out.repeat = prefixes.repeat;
  out.lock = prefixes.lock;
  out.address_size = mode.long64 ? (prefixes.address_size ? 4 : 8)
                                 : ((mode.code_width == 4) == prefixes.address_size ? 2 : 4);
  out.segment = prefixes.segment == kNoSegmentOverride ? std::uint8_t{kDs} : prefixes.segment;
  if (entry.rows.empty()) return;
  if (entry.has_modrm) out.modrm = reader.byte();
  // MOV to and from control and debug registers always names registers,
  // whatever ModRM.mod says. Source: SDM vol. 2B, "MOV".
  if (map == OpcodeMap::map_0f && (out.opcode & 0xfc) == 0x20) out.modrm |= 0xc0;
  const std::uint16_t r = choose_row(entry, mode, prefixes, out.modrm);
  if (r == kNoRow) return;
  const Row& row = instruction_table()[r];
  if (row.modrm != ModRm::absent && out.modrm < 0xc0) {
    read_memory_operand(mode, prefixes, reader, out);
  }
  out.operand_size = operand_size(mode, prefixes, row.attributes);
  decode_registers(row, prefixes, out);
  read_immediate(mode, row.immediate, reader, out);
  const unsigned size_index = static_cast<unsigned>(std::countr_zero(out.operand_size));
  const Handler handler =
      out.memory ? row.handlers.memory[size_index] : row.handlers.registers[size_index];
  if (prefixes.lock && !((row.attributes & kLockable) != 0 && out.memory)) return;
  if (handler == nullptr) return;
  out.row = r;
  out.handler = handler;
}

}  // namespace

DecodeStatus decode(const DecodeMode& mode, ByteView bytes, Instruction& out) {
  const std::uint16_t start = out.start_offset;
  out = Instruction{};
  out.start_offset = start;
  Reader reader(bytes.first(std::min<std::size_t>(bytes.size(), kLongestInstruction)));
  unsigned length = kLongestInstruction;
  try {
    decode_bytes(mode, reader, out);
    length = reader.offset();
  } catch (const OutOfBytes&) {
    if (bytes.size() < kLongestInstruction) return DecodeStatus::need_more;
    out.handler = instruction_too_long;
    out.row = kNoRow;
  }
  out.next_offset = static_cast<std::uint16_t>(start + length);
  return DecodeStatus::ok;
}

std::uint32_t row_attributes(const Instruction& instruction) {
  return instruction.row == kNoRow ? std::uint32_t{kEndsBlock}
                                   : instruction_table()[instruction.row].attributes;
}

}  // namespace chronovisor
