#include "vmm/cpu/interpret/x87/memory_image.h"

#include <array>

#include "vmm/cpu/interpret/x87/stack.h"

namespace chronovisor::x87 {
namespace {

constexpr unsigned kValueBytes = 10;
constexpr unsigned kRegisterCount = 8;
constexpr unsigned kFields = 7;

/// The image as seven fields of 2 or 4 bytes.
struct Layout {
  unsigned field_bytes;
  bool real;  ///< real and virtual-8086 mode: pointers are linear addresses
  [[nodiscard]] unsigned environment_bytes() const { return kFields * field_bytes; }
};
using Fields = std::array<std::uint32_t, kFields>;

Layout layout_of(const Cpu& cpu, const Instruction& i) {
  const bool real = cpu.mode() == CpuMode::real || cpu.mode() == CpuMode::virtual8086;
  return {i.operand_size == 2 ? 2U : 4U, real};
}

std::uint64_t part(const Cpu& cpu, const Instruction& i, unsigned offset) {
  return Cpu::cut(cpu.effective_address(i) + offset, i.address_size);
}

constexpr std::uint16_t kOpcodeMask = 0x7ff;

Fields pack(const X87State& s, const Layout& layout) {
  const auto ip = static_cast<std::uint32_t>(s.last_ip);
  const auto dp = static_cast<std::uint32_t>(s.last_dp);
  // Intel processors fill the reserved halves with ones.
  constexpr std::uint32_t kOnes = 0xffff0000;
  Fields f{kOnes | s.control, kOnes | s.status, kOnes | visible_tags(s), 0, 0, 0, 0};
  if (layout.real) {
    const std::uint32_t high = layout.field_bytes == 2 ? 0xf0000 : 0xffff0000;
    f[3] = kOnes | (ip & 0xffff);
    f[4] = ((ip & high) >> 4) | (s.last_opcode & kOpcodeMask);
    f[5] = kOnes | (dp & 0xffff);
    f[6] = (dp & high) >> 4;
  } else {
    f[3] = ip;
    f[4] = s.last_cs | (static_cast<std::uint32_t>(s.last_opcode & kOpcodeMask) << 16);
    f[5] = dp;
    f[6] = kOnes | s.last_ds;
  }
  return f;
}

void unpack(X87State& s, const Layout& layout, const Fields& f) {
  s.control = static_cast<std::uint16_t>((f[0] & kCwWritable) | kCwReservedOne);
  s.status = static_cast<std::uint16_t>(f[1]);
  s.tag = static_cast<std::uint16_t>(f[2]);
  s.last_cs = s.last_ds = 0;
  if (layout.real) {
    s.last_ip = (f[3] & 0xffff) | (((f[4] >> 12) & 0xffff) << 16);
    s.last_dp = (f[5] & 0xffff) | (((f[6] >> 12) & 0xffff) << 16);
    s.last_opcode = static_cast<std::uint16_t>(f[4] & kOpcodeMask);
  } else {
    s.last_ip = f[3];
    s.last_dp = f[5];
    s.last_opcode = static_cast<std::uint16_t>((f[4] >> 16) & kOpcodeMask);
  }
  update_summary(s);
}

void write_fields(Cpu& cpu, const Instruction& i, const Layout& layout) {
  const Fields fields = pack(cpu.state.x87, layout);
  for (unsigned k = 0; k < kFields; ++k) {
    const std::uint64_t offset = part(cpu, i, k * layout.field_bytes);
    if (layout.field_bytes == 2) {
      cpu.store<std::uint16_t>(i.segment, offset, static_cast<std::uint16_t>(fields[k]));
    } else {
      cpu.store<std::uint32_t>(i.segment, offset, fields[k]);
    }
  }
}

Fields read_fields(Cpu& cpu, const Instruction& i, const Layout& layout) {
  Fields fields{};
  for (unsigned k = 0; k < kFields; ++k) {
    const std::uint64_t offset = part(cpu, i, k * layout.field_bytes);
    fields[k] = layout.field_bytes == 2 ? cpu.load<std::uint16_t>(i.segment, offset)
                                        : cpu.load<std::uint32_t>(i.segment, offset);
  }
  return fields;
}

// The registers of an image go in pieces of 2 bytes: in an image #AC asks for
// the alignment of the environment's fields only.
X87Register read_register(Cpu& cpu, const Instruction& i, unsigned offset) {
  std::array<std::uint16_t, kValueBytes / 2> pieces{};
  for (unsigned k = 0; k < pieces.size(); ++k) {
    pieces[k] = cpu.load<std::uint16_t>(i.segment, part(cpu, i, offset + 2 * k));
  }
  X87Register value{0, pieces[4]};
  for (unsigned k = 0; k < 4; ++k) value.significand |= std::uint64_t{pieces[k]} << (16 * k);
  return value;
}
void write_register(Cpu& cpu, const Instruction& i, const X87Register& value, unsigned offset) {
  for (unsigned k = 0; k < 4; ++k) {
    cpu.store<std::uint16_t>(i.segment, part(cpu, i, offset + 2 * k),
                             static_cast<std::uint16_t>(value.significand >> (16 * k)));
  }
  cpu.store<std::uint16_t>(i.segment, part(cpu, i, offset + 8), value.sign_exponent);
}

/// What is empty stays so; what the other registers hold decides their tag.
void settle_tags(X87State& s) { s.tag = visible_tags(s); }

}  // namespace

X87Register load_extended(Cpu& cpu, const Instruction& i, unsigned offset) {
  X87Register value;
  value.significand = cpu.load<std::uint64_t>(i.segment, part(cpu, i, offset));
  value.sign_exponent = cpu.load<std::uint16_t>(i.segment, part(cpu, i, offset + 8));
  return value;
}

void store_extended(Cpu& cpu, const Instruction& i, const X87Register& value, unsigned offset) {
  cpu.probe(i.segment, part(cpu, i, offset), 8, Access::write);
  cpu.probe(i.segment, part(cpu, i, offset + 8), 2, Access::write);
  cpu.store<std::uint64_t>(i.segment, part(cpu, i, offset), value.significand);
  cpu.store<std::uint16_t>(i.segment, part(cpu, i, offset + 8), value.sign_exponent);
}

void store_environment(Cpu& cpu, const Instruction& i) {
  const Layout layout = layout_of(cpu, i);
  cpu.probe(i.segment, cpu.effective_address(i), layout.field_bytes, Access::write);
  cpu.probe(i.segment, cpu.effective_address(i), layout.environment_bytes(), Access::write);
  write_fields(cpu, i, layout);
}

void load_environment(Cpu& cpu, const Instruction& i) {
  const Layout layout = layout_of(cpu, i);
  unpack(cpu.state.x87, layout, read_fields(cpu, i, layout));
  settle_tags(cpu.state.x87);
}

void store_all(Cpu& cpu, const Instruction& i) {
  const Layout layout = layout_of(cpu, i);
  const unsigned environment = layout.environment_bytes();
  cpu.probe(i.segment, cpu.effective_address(i), layout.field_bytes, Access::write);
  cpu.probe(i.segment, cpu.effective_address(i), environment + kRegisterCount * kValueBytes,
            Access::write);
  write_fields(cpu, i, layout);
  for (unsigned k = 0; k < kRegisterCount; ++k) {
    write_register(cpu, i, get(cpu.state.x87, k), environment + k * kValueBytes);
  }
}

void load_all(Cpu& cpu, const Instruction& i) {
  const Layout layout = layout_of(cpu, i);
  const Fields fields = read_fields(cpu, i, layout);
  std::array<X87Register, kRegisterCount> values;
  for (unsigned k = 0; k < kRegisterCount; ++k) {
    values[k] = read_register(cpu, i, layout.environment_bytes() + k * kValueBytes);
  }
  X87State& s = cpu.state.x87;
  unpack(s, layout, fields);
  for (unsigned k = 0; k < kRegisterCount; ++k) s.st[physical(s, k)] = values[k];
  settle_tags(s);
}

}  // namespace chronovisor::x87
