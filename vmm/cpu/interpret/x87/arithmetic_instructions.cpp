#include <array>
#include <vector>

#include "vmm/cpu/interpret/x87/arithmetic.h"
#include "vmm/cpu/interpret/x87/support.h"

// Source: SDM vol. 2A, "FABS" to "FXTRACT".

namespace chronovisor::x87 {
namespace {

/// Settles the exceptions of an operation whose result goes to ST(index).
/// @return whether the operation completed
bool complete(X87State& s, unsigned index, const Outcome& out, unsigned conditions = kSwC1) {
  set_conditions(s, conditions, out.status);
  if ((signal(s, out.status & kSwExceptions) & kPreComputation) != 0) return false;
  set(s, index, out.value);
  return true;
}
/// An operand is missing: the masked response.
bool complete_underflow(X87State& s, unsigned index) {
  if (!stack_underflow(s)) return false;
  set(s, index, kIndefinite);
  return true;
}

/// ST(0) and ST(i); the result goes to ST(0) or, with ToSti, to ST(i). The
/// order of the operands does not depend on that.
template <Binary Op, bool ToSti, bool Pop>
void with_register(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  const unsigned destination = ToSti ? index : 0;
  bool completed = false;
  if (empty(s, 0) || empty(s, index)) [[unlikely]] {
    completed = complete_underflow(s, destination);
  } else {
    completed = complete(s, destination, binary(Op, get(s, 0), get(s, index), s.control));
  }
  if (Pop && completed) pop(s);
}
template <Binary Op, class T, Source S>
void with_memory(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const T bits = cpu.load_operand<T>(i);
  note_instruction(cpu, i);
  if (empty(s, 0)) [[unlikely]] {
    complete_underflow(s, 0);
  } else {
    complete(s, 0, binary(Op, get(s, 0), S, bits, s.control));
  }
}

template <auto Operation>
void unary(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  if (empty(s, 0)) [[unlikely]] {
    complete_underflow(s, 0);
  } else {
    complete(s, 0, Operation(get(s, 0), s.control));
  }
}
Outcome absolute(const X87Register& a, std::uint16_t /*control*/) {
  return {{a.significand, static_cast<std::uint16_t>(a.sign_exponent & ~kSignBit)}, 0};
}
Outcome change_sign(const X87Register& a, std::uint16_t /*control*/) {
  return {{a.significand, static_cast<std::uint16_t>(a.sign_exponent ^ kSignBit)}, 0};
}

/// ST(0) op ST(1), ST(1) stays.
void fscale(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  if (empty(s, 0) || empty(s, 1)) [[unlikely]] {
    complete_underflow(s, 0);
  } else {
    complete(s, 0, scale(get(s, 0), get(s, 1), s.control));
  }
}
/// FPREM and FPREM1. Without a quotient, C0 and C3 stay and C2 becomes 0.
template <Remainder Kind>
void fprem(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  if (empty(s, 0) || empty(s, 1)) [[unlikely]] {
    set_conditions(s, kSwC2, 0);
    complete_underflow(s, 0);
    return;
  }
  const Outcome out = remainder(Kind, get(s, 0), get(s, 1), s.control);
  const bool quotient =
      classify(out.value) != Class::nan && (out.status & ~s.control & kPreComputation) == 0;
  complete(s, 0, out, quotient ? kSwConditions : kSwC1 | kSwC2);
}

void fxtract(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  Extracted out{kIndefinite, kIndefinite, 0};
  if (empty(s, 0)) [[unlikely]] {
    if (!stack_underflow(s)) return;
  } else if (!empty(s, 7)) [[unlikely]] {
    if (!stack_overflow(s)) return;
  } else {
    out = extract(get(s, 0), s.control);
    set_conditions(s, kSwC1, 0);
    if ((signal(s, out.status & kSwExceptions) & kPreComputation) != 0) return;
  }
  set(s, 0, out.exponent);
  set_top(s, top(s) + 7);
  set(s, 0, out.significand);
}

struct Names {
  std::string_view plain, pop, integer;
};

template <Binary Op>
void add_operation(std::vector<Row>& rows, const Names& names) {
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  constexpr int kReg = static_cast<int>(Op);
  rows.insert(rows.end(),
              {
                  memory_row(names.plain, 0xd8, kReg, &with_memory<Op, u32, Source::float32>),
                  memory_row(names.integer, 0xda, kReg, &with_memory<Op, u32, Source::int32>),
                  memory_row(names.plain, 0xdc, kReg, &with_memory<Op, u64, Source::float64>),
                  memory_row(names.integer, 0xde, kReg, &with_memory<Op, u16, Source::int16>),
                  register_row(names.plain, 0xd8, kReg, &with_register<Op, false, false>),
                  register_row(names.plain, 0xdc, kReg, &with_register<Op, true, false>),
                  register_row(names.pop, 0xde, kReg, &with_register<Op, true, true>),
              });
}

}  // namespace

std::span<const Row> arithmetic_rows() {
  static const std::vector<Row> rows = [] {
    // Named after D8; DC and DE with registers call /4 and /6 the reverse forms.
    std::vector<Row> all;
    add_operation<Binary::add>(all, {"fadd", "faddp", "fiadd"});
    add_operation<Binary::mul>(all, {"fmul", "fmulp", "fimul"});
    add_operation<Binary::sub>(all, {"fsub", "fsubrp", "fisub"});
    add_operation<Binary::subr>(all, {"fsubr", "fsubp", "fisubr"});
    add_operation<Binary::div>(all, {"fdiv", "fdivrp", "fidiv"});
    add_operation<Binary::divr>(all, {"fdivr", "fdivp", "fidivr"});
    all.insert(all.end(), {
                              register_row("fchs", 0xd9, 4, &unary<&change_sign>, 0),
                              register_row("fabs", 0xd9, 4, &unary<&absolute>, 1),
                              register_row("fxtract", 0xd9, 6, &fxtract, 4),
                              register_row("fprem1", 0xd9, 6, &fprem<Remainder::nearest>, 5),
                              register_row("fprem", 0xd9, 7, &fprem<Remainder::truncating>, 0),
                              register_row("fsqrt", 0xd9, 7, &unary<&square_root>, 2),
                              register_row("frndint", 0xd9, 7, &unary<&round_to_integer>, 4),
                              register_row("fscale", 0xd9, 7, &fscale, 5),
                          });
    return all;
  }();
  return rows;
}

}  // namespace chronovisor::x87
