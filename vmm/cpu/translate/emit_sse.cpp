// Emission of the SSE instructions that do the same on every processor: moves,
// integer arithmetic, shuffles, masks. The operation itself is the guest's, on two
// of the host's registers; the guest's lie in memory. What rounds or raises
// floating-point exceptions, and MMX, is left to the handlers.
#include <vector>

#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xmm128 = Xbyak::Xmm;

/// What a row's operands are; `width` is of the memory operand, in bytes.
enum class Shape : std::uint8_t {
  none,
  binary,           ///< xmm = operation(xmm, xmm/m128 aligned)
  unary,            ///< xmm = operation(xmm/m of `width`), the old value is not read
  load,             ///< xmm = xmm/m128
  load_low,         ///< xmm = m of `width`, the rest cleared; registers: see `registers`
  store,            ///< xmm/m128 = xmm
  store_low,        ///< m of `width` = the low part
  load_half,        ///< the low or the high half from m64
  store_half,       ///< m64 from the high half
  from_general,     ///< MOVD, MOVQ xmm, r/m
  to_general,       ///< MOVD, MOVQ r/m, xmm
  mask,             ///< r = signs of xmm
  shift_immediate,  ///< xmm (rm) shifted
  test,             ///< PTEST
  find,             ///< PCMPISTRI
};

struct SseRow {
  Shape shape = Shape::none;
  std::uint8_t width = 16;
  bool aligned = false;
  bool immediate = false;
  bool high = false;
  enum class Registers : std::uint8_t {
    whole,
    low_clears,
    low_keeps,
    crossed
  } registers = Registers::whole;
};

bool host_has(OpcodeMap map, unsigned opcode) {
  static const bool ssse3 = __builtin_cpu_supports("ssse3") != 0;
  static const bool sse41 = __builtin_cpu_supports("sse4.1") != 0;
  static const bool sse42 = __builtin_cpu_supports("sse4.2") != 0;
  if (map == OpcodeMap::map_0f) return true;
  if (map == OpcodeMap::map_0f3a) return opcode == 0x0f ? ssse3 : opcode >= 0x60 ? sse42 : sse41;
  if (opcode == 0x37) return sse42;
  return opcode < 0x10 || (opcode >= 0x1c && opcode < 0x1f) ? ssse3 : sse41;
}

SseRow shape_0f(const Row& row) {
  const unsigned op = row.opcode;
  const bool none = row.prefix == MandatoryPrefix::none;
  const bool p66 = row.prefix == MandatoryPrefix::p66;
  const bool pf3 = row.prefix == MandatoryPrefix::pf3;
  const bool pf2 = row.prefix == MandatoryPrefix::pf2;
  using Registers = SseRow::Registers;
  const auto binary = [&](bool immediate = false) {
    return SseRow{Shape::binary, 16, true, immediate, false, Registers::whole};
  };
  switch (op) {
    case 0x10:
      if (none || p66) return {.shape = Shape::load};
      return {.shape = Shape::load_low,
              .width = static_cast<std::uint8_t>(pf3 ? 4 : 8),
              .registers = Registers::low_keeps};
    case 0x11:
      if (none || p66) return {.shape = Shape::store};
      return {.shape = Shape::store_low,
              .width = static_cast<std::uint8_t>(pf3 ? 4 : 8),
              .registers = Registers::low_keeps};
    case 0x12:
      if (none || p66) return {.shape = Shape::load_half, .registers = Registers::crossed};
      return {};
    case 0x13:
      return {.shape = Shape::store_low, .width = 8};
    case 0x16:
      if (none || p66) {
        return {.shape = Shape::load_half, .high = true, .registers = Registers::crossed};
      }
      return {};
    case 0x17:
      return {.shape = Shape::store_half, .high = true};
    case 0x14:
    case 0x15:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
      return none || p66 ? binary() : SseRow{};
    case 0x28:
      return {.shape = Shape::load, .aligned = true};
    case 0x29:
      return {.shape = Shape::store, .aligned = true};
    case 0x2b:
      return {.shape = Shape::store, .aligned = true};
    case 0x50:
      return {.shape = Shape::mask};
    case 0x6e:
      return p66 ? SseRow{.shape = Shape::from_general} : SseRow{};
    case 0x6f:
      if (p66) return {.shape = Shape::load, .aligned = true};
      return pf3 ? SseRow{.shape = Shape::load} : SseRow{};
    case 0x70:
      if (none) return {};
      return {.shape = Shape::unary, .aligned = true, .immediate = true};
    case 0x71:
    case 0x72:
    case 0x73:
      return p66 ? SseRow{.shape = Shape::shift_immediate, .immediate = true} : SseRow{};
    case 0x7e:
      if (p66) return {.shape = Shape::to_general};
      if (pf3) {
        return {.shape = Shape::load_low, .width = 8, .registers = Registers::low_clears};
      }
      return {};
    case 0x7f:
      if (p66) return {.shape = Shape::store, .aligned = true};
      return pf3 ? SseRow{.shape = Shape::store} : SseRow{};
    case 0xc6:
      return none || p66 ? binary(true) : SseRow{};
    case 0xd6:
      return p66 ? SseRow{.shape = Shape::store_low, .width = 8, .registers = Registers::low_clears}
                 : SseRow{};
    case 0xd7:
      return p66 ? SseRow{.shape = Shape::mask} : SseRow{};
    case 0xe7:
      return p66 ? SseRow{.shape = Shape::store, .aligned = true} : SseRow{};
    case 0xf0:
      return pf2 ? SseRow{.shape = Shape::load} : SseRow{};
    default:
      break;
  }
  if (!p66) return {};
  const bool integer = (op >= 0x60 && op <= 0x6d) || (op >= 0x74 && op <= 0x76) ||
                       (op >= 0xd1 && op <= 0xd5) || (op >= 0xd8 && op <= 0xe5) ||
                       (op >= 0xe8 && op <= 0xef) || (op >= 0xf1 && op <= 0xf6) ||
                       (op >= 0xf8 && op <= 0xfe);
  return integer ? binary() : SseRow{};
}

SseRow shape_of(const Row& row) {
  if (row.map == OpcodeMap::primary || !host_has(row.map, row.opcode)) return {};
  if (row.map == OpcodeMap::map_0f) return shape_0f(row);
  if (row.prefix != MandatoryPrefix::p66) return {};
  const unsigned op = row.opcode;
  if (row.map == OpcodeMap::map_0f3a) {
    if (op >= 0x0c && op <= 0x0f)
      return {.shape = Shape::binary, .aligned = true, .immediate = true};
    if (op == 0x63) return {.shape = Shape::find, .immediate = true};
    return {};
  }
  if (op == 0x17) return {.shape = Shape::test, .aligned = true};
  if (op == 0x2a) return {.shape = Shape::load, .aligned = true};
  if (op >= 0x1c && op <= 0x1e) return {.shape = Shape::unary, .aligned = true};
  if (op == 0x41) return {.shape = Shape::unary, .aligned = true};
  if ((op >= 0x20 && op <= 0x25) || (op >= 0x30 && op <= 0x35)) {
    static constexpr std::uint8_t kWidths[6] = {8, 4, 2, 8, 4, 8};
    return {.shape = Shape::unary, .width = kWidths[op & 15]};
  }
  if (op <= 0x0b || op == 0x28 || op == 0x29 || op == 0x2b || op == 0x37 ||
      (op >= 0x38 && op <= 0x40)) {
    return {.shape = Shape::binary, .aligned = true};
  }
  return {};
}

const SseRow& shape(std::uint16_t row) {
  static const std::vector<SseRow> shapes = [] {
    std::vector<SseRow> all(instruction_table().size());
    const std::size_t first = instruction_table().size() - sse_rows().size();
    for (std::size_t r = first; r < all.size(); ++r) all[r] = shape_of(instruction_table()[r]);
    return all;
  }();
  return shapes[row];
}

/// `operation reg, rm` between registers, as the guest encodes it.
void operate(Assembler& a, const Row& row, int reg, int rm) {
  if (row.prefix == MandatoryPrefix::p66) a.db(0x66);
  if (row.prefix == MandatoryPrefix::pf3) a.db(0xf3);
  if (row.prefix == MandatoryPrefix::pf2) a.db(0xf2);
  a.db(0x0f);
  if (row.map == OpcodeMap::map_0f38) a.db(0x38);
  if (row.map == OpcodeMap::map_0f3a) a.db(0x3a);
  a.db(row.opcode);
  a.db(0xc0 | reg << 3 | rm);
}

}  // namespace

/// SSE instructions raise #UD or #NM by CR0 and CR4, which do not change within a
/// block: its first one looks.
void BlockEmitter::check_sse() {
  if (sse_checked_) return;
  sse_checked_ = true;
  SlowWay& slow = slow_way();
  a_.test(a_.at(layout_.cr0, 1), kCr0Em | kCr0Ts);
  slow.jumps.push_back(a_.jump_if(kIfNotZero));
  a_.test(a_.at(layout_.cr4 + 1, 1), kCr4Osfxsr >> 8);
  slow.jumps.push_back(a_.jump_if(kIfZero));
}

bool BlockEmitter::sse(const Instruction& i) {
  const SseRow& s = shape(i.row);
  if (s.shape == Shape::none) return false;
  const Row& row = instruction_table()[i.row];
  const Xmm128 x0(0);
  const Xmm128 x1(1);
  const auto guest = [&](unsigned index) {
    return a_.ptr[Xbyak::RegExp(a_.rbp) + (layout_.xmm + static_cast<int>(index * 16))];
  };
  const auto half = [&](unsigned index, bool high) {
    return a_.at(layout_.xmm + static_cast<int>(index * 16 + (high ? 8 : 0)), 8);
  };
  const auto pointed = a_.ptr[Reg64(kT0)];
  const bool writes_general = s.shape == Shape::mask || (s.shape == Shape::to_general && !i.memory);
  if (writes_general) before_write(s.shape == Shape::mask ? i.reg : i.rm);
  if (!sse_checked_ || i.memory) settle();
  const bool stores = s.shape == Shape::store || s.shape == Shape::store_low ||
                      s.shape == Shape::store_half || s.shape == Shape::to_general;
  unsigned width = s.width;
  if (s.shape == Shape::load_half || s.shape == Shape::store_half) width = 8;
  if (s.shape == Shape::from_general || s.shape == Shape::to_general) width = i.operand_size;
  if (width < 2 || (width == 2 && s.shape != Shape::unary)) return false;
  check_sse();
  if (i.memory) memory(i, width, stores ? Access::write : Access::read, s.aligned ? 15 : 0);

  /// The source operand to x1.
  const auto load_source = [&] {
    if (!i.memory) {
      a_.movups(x1, guest(i.rm));
    } else if (width == 16) {
      a_.movups(x1, pointed);
    } else if (width == 8) {
      a_.movq(x1, pointed);
    } else if (width == 4) {
      a_.movd(x1, pointed);
    } else {
      a_.movzx(Reg32(kT0), Assembler::pointed(kT0, 2));
      a_.movd(x1, Reg32(kT0));
    }
  };
  const auto immediate = [&] {
    if (s.immediate) a_.db(static_cast<int>(i.immediate & 0xff));
  };

  switch (s.shape) {
    case Shape::none:
      return false;
    case Shape::binary:
      a_.movups(x0, guest(i.reg));
      load_source();
      operate(a_, row, 0, 1);
      immediate();
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::unary:
      load_source();
      operate(a_, row, 0, 1);
      immediate();
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::load:
      a_.movups(x0, i.memory ? pointed : guest(i.rm));
      a_.movups(guest(i.reg), x0);
      break;
    case Shape::store:
      a_.movups(x0, guest(i.reg));
      a_.movups(i.memory ? pointed : guest(i.rm), x0);
      break;
    case Shape::load_low:
    case Shape::store_low: {
      const bool load = s.shape == Shape::load_low;
      if (i.memory && load) {
        load_source();
        a_.movups(guest(i.reg), x1);
      } else if (i.memory) {
        a_.mov(Assembler::sized(kT1, width), half(i.reg, false));
        a_.mov(Assembler::pointed(kT0, width), Assembler::sized(kT1, width));
      } else {
        const unsigned from = load ? i.rm : i.reg;
        const unsigned to = load ? i.reg : i.rm;
        if (s.registers == SseRow::Registers::low_clears) {
          a_.movq(x0, half(from, false));
          a_.movups(guest(to), x0);
        } else {
          const auto at = [&](unsigned index) {
            return a_.at(layout_.xmm + static_cast<int>(index * 16), width);
          };
          a_.mov(Assembler::sized(kT1, width), at(from));
          a_.mov(at(to), Assembler::sized(kT1, width));
        }
      }
      break;
    }
    case Shape::load_half:
      if (i.memory) {
        a_.mov(Reg64(kT1), Assembler::pointed(kT0, 8));
      } else {
        a_.mov(Reg64(kT1), half(i.rm, !s.high));  // MOVHLPS, MOVLHPS
      }
      a_.mov(half(i.reg, s.high), Reg64(kT1));
      break;
    case Shape::store_half:
      a_.mov(Reg64(kT1), half(i.reg, true));
      a_.mov(Assembler::pointed(kT0, 8), Reg64(kT1));
      break;
    case Shape::from_general:
      if (i.memory) {
        load_source();
      } else if (width == 8) {
        a_.movq(x1, Reg64(value(i.rm, 8, kT1).getIdx()));
      } else {
        a_.movd(x1, Reg32(value(i.rm, 4, kT1).getIdx()));
      }
      a_.movups(guest(i.reg), x1);
      break;
    case Shape::to_general:
      a_.mov(Assembler::sized(kT1, width),
             a_.at(layout_.xmm + static_cast<int>(i.reg * 16U), width));
      if (i.memory) {
        a_.mov(Assembler::pointed(kT0, width), Assembler::sized(kT1, width));
      } else {
        write(i.rm, width, kT1);
        after_write(i.rm);
      }
      break;
    case Shape::mask:
      a_.movups(x1, guest(i.rm));
      operate(a_, row, 0, 1);  // to EAX, the first temporary
      write(i.reg, 4, kT0);
      after_write(i.reg);
      break;
    case Shape::shift_immediate:
      a_.movups(x1, guest(i.rm));
      operate(a_, row, row.reg, 1);
      immediate();
      a_.movups(guest(i.rm), x1);
      break;
    case Shape::test:
      a_.movups(x0, guest(i.reg));
      load_source();
      operate(a_, row, 0, 1);
      set_by_host();
      break;
    case Shape::find:
      a_.movups(x0, guest(i.reg));
      load_source();
      operate(a_, row, 0, 1);  // the index to ECX, where the guest has it
      immediate();
      set_by_host();
      break;
  }
  return true;
}

}  // namespace chronovisor::translate
