// Emission of SSE's floating point. The operation runs on the host's unit while the
// guest's MXCSR asks for what the host's has anyway: round to nearest, everything
// masked, denormals kept. The exceptions it flags then gather in the host's MXCSR;
// whoever leaves emitted code moves them to the guest's. Any other MXCSR is the
// handlers' business, and so are estimates, which differ between processors.
#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1;
using Xbyak::Reg64;
using Xmm128 = Xbyak::Xmm;

enum class Shape : std::uint8_t {
  none,
  binary,        ///< xmm = operation(xmm, xmm/m)
  unary,         ///< xmm = operation(xmm/m)
  flags,         ///< COMIS and UCOMIS
  from_general,  ///< xmm = convert(r/m)
  to_general,    ///< r = convert(xmm/m)
};

struct FloatRow {
  Shape shape = Shape::none;
  std::uint8_t width = 16;  ///< of the memory operand, in bytes
};

FloatRow shape_of(const Row& row) {
  if (row.map != OpcodeMap::map_0f) return {};
  const bool none = row.prefix == MandatoryPrefix::none;
  const bool pf3 = row.prefix == MandatoryPrefix::pf3;
  const bool pf2 = row.prefix == MandatoryPrefix::pf2;
  const bool packed = !pf3 && !pf2;
  const auto scalar = static_cast<std::uint8_t>(pf3 ? 4 : 8);
  const std::uint8_t width = packed ? 16 : scalar;
  switch (row.opcode) {
    case 0x51:
      return {packed ? Shape::unary : Shape::binary, width};
    case 0x58:
    case 0x59:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
    case 0xc2:
      return {Shape::binary, width};
    case 0x5a:
      if (!packed) return {Shape::binary, scalar};
      return {Shape::unary, static_cast<std::uint8_t>(none ? 8 : 16)};
    case 0x5b:
      return {Shape::unary, 16};
    case 0xe6:
      return {Shape::unary, static_cast<std::uint8_t>(pf3 ? 8 : 16)};
    case 0x2e:
    case 0x2f:
      return {Shape::flags, static_cast<std::uint8_t>(none ? 4 : 8)};
    case 0x2a:
      return packed ? FloatRow{} : FloatRow{Shape::from_general, 0};
    case 0x2c:
    case 0x2d:
      return packed ? FloatRow{} : FloatRow{Shape::to_general, scalar};
    default:
      return {};
  }
}

const FloatRow& shape(std::uint16_t row) {
  static const std::vector<FloatRow> shapes = [] {
    std::vector<FloatRow> all(instruction_table().size());
    const std::size_t first = instruction_table().size() - sse_rows().size();
    for (std::size_t r = first; r < all.size(); ++r) all[r] = shape_of(instruction_table()[r]);
    return all;
  }();
  return shapes[row];
}

/// `operation reg, rm` between low registers, as the guest encodes it.
void operate(Assembler& a, const Row& row, int reg, int rm, bool wide) {
  if (row.prefix == MandatoryPrefix::p66) a.db(0x66);
  if (row.prefix == MandatoryPrefix::pf3) a.db(0xf3);
  if (row.prefix == MandatoryPrefix::pf2) a.db(0xf2);
  if (wide) a.db(0x48);
  a.db(0x0f);
  a.db(row.opcode);
  a.db(0xc0 | reg << 3 | rm);
}

}  // namespace

/// The host's unit works for the guest from here on, or the slow way is gone.
void BlockEmitter::check_float() {
  a_.cmp(a_.at(layout_.float_used, 1), 0);
  const std::uint32_t in_use = a_.jump_if(kIfNotZero);
  a_.call_to(translator_.begin_float_);
  slow_way().jumps.push_back(a_.jump_if(kIfNotZero));
  a_.land(in_use);
}

bool BlockEmitter::floating(const Instruction& i) {
  const FloatRow& s = shape(i.row);
  if (s.shape == Shape::none) return false;
  const Row& row = instruction_table()[i.row];
  const bool compares = row.opcode == 0xc2;
  if (compares && (i.immediate & 0xff) > 7) return false;
  const Xmm128 x0(0);
  const Xmm128 x1(1);
  const auto guest = [&](unsigned index) {
    return a_.ptr[Xbyak::RegExp(a_.rbp) + (layout_.xmm + static_cast<int>(index * 16))];
  };
  const auto pointed = a_.ptr[Reg64(kT0)];
  const unsigned width = s.shape == Shape::from_general ? i.operand_size : s.width;
  if (s.shape == Shape::to_general) before_write(i.reg);
  settle();
  check_sse();
  check_float();
  if (i.memory) memory(i, width, Access::read, width == 16 ? 15 : 0);

  const auto load_source = [&] {
    if (!i.memory) {
      a_.movups(x1, guest(i.rm));
    } else if (width == 16) {
      a_.movups(x1, pointed);
    } else if (width == 8) {
      a_.movq(x1, pointed);
    } else {
      a_.movd(x1, pointed);
    }
  };
  switch (s.shape) {
    case Shape::none:
      return false;
    case Shape::binary:
      a_.movups(x0, guest(i.reg));
      load_source();
      operate(a_, row, 0, 1, false);
      if (compares) a_.db(static_cast<int>(i.immediate & 7));
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::unary:
      load_source();
      operate(a_, row, 0, 1, false);
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::flags:
      a_.movups(x0, guest(i.reg));
      load_source();
      operate(a_, row, 0, 1, false);
      set_by_host();
      break;
    case Shape::from_general:
      if (i.memory) {
        a_.mov(Assembler::sized(kT0, width), Assembler::pointed(kT0, width));
      } else {
        a_.mov(Assembler::sized(kT0, width), value(i.rm, width, kT1));
      }
      a_.movups(x0, guest(i.reg));
      operate(a_, row, 0, 0, width == 8);  // from RAX, the first temporary
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::to_general:
      load_source();
      operate(a_, row, 0, 1, i.operand_size == 8);  // to RAX
      write(i.reg, i.operand_size, kT0);
      after_write(i.reg);
      break;
  }
  return true;
}

}  // namespace chronovisor::translate
