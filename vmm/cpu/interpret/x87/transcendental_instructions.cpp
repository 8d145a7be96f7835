#include <array>

#include "vmm/cpu/interpret/x87/support.h"
#include "vmm/cpu/interpret/x87/transcendental.h"

// Source: SDM vol. 2A, "F2XM1" to "FYL2XP1".

namespace chronovisor::x87 {
namespace {

/// F2XM1, FSIN and FCOS replace ST(0). `Ranged` functions say in C2 whether
/// the operand was in range.
template <auto Function, bool Ranged>
void replace(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  if constexpr (Ranged) set_conditions(s, kSwC2, 0);
  if (empty(s, 0)) [[unlikely]] {
    if (stack_underflow(s)) set(s, 0, kIndefinite);
    return;
  }
  const Outcome out = Function(get(s, 0), s.control);
  set_conditions(s, Ranged ? kSwC1 | kSwC2 : kSwC1, out.status);
  if (Ranged && (out.status & kSwC2) != 0) return;
  if ((signal(s, out.status & kSwExceptions) & kPreComputation) == 0) set(s, 0, out.value);
}

/// FYL2X, FYL2XP1 and FPATAN combine ST(0) and ST(1), and pop.
template <auto Function>
void combine(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  Outcome out{kIndefinite, 0};
  if (empty(s, 0) || empty(s, 1)) [[unlikely]] {
    if (!stack_underflow(s)) return;
  } else {
    out = Function(get(s, 0), get(s, 1), s.control);
    set_conditions(s, kSwC1, out.status);
    if ((signal(s, out.status & kSwExceptions) & kPreComputation) != 0) return;
  }
  set(s, 1, out.value);
  pop(s);
}

/// FPTAN and FSINCOS replace ST(0) and push.
template <auto Function>
void replace_and_push(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  set_conditions(s, kSwC2, 0);
  TwoOutcomes out{kIndefinite, kIndefinite, 0};
  if (empty(s, 0)) [[unlikely]] {
    if (!stack_underflow(s)) return;
  } else if (!empty(s, 7)) [[unlikely]] {
    if (!stack_overflow(s)) return;
  } else {
    out = Function(get(s, 0), s.control);
    set_conditions(s, kSwC1 | kSwC2, out.status);
    if ((out.status & kSwC2) != 0) return;
    if ((signal(s, out.status & kSwExceptions) & kPreComputation) != 0) return;
  }
  set(s, 0, out.replaced);
  set_top(s, top(s) + 7);
  set(s, 0, out.pushed);
}

Row ours(std::string_view name, int reg, int rm, Handler handler) {
  Row row = register_row(name, 0xd9, reg, handler, rm);
  row.oracle_exception = "computed by us: hosts differ in the last bit";
  return row;
}

}  // namespace

std::span<const Row> transcendental_rows() {
  static const std::array kRows{
      ours("f2xm1", 6, 0, &replace<&f2xm1, false>),
      ours("fyl2x", 6, 1, &combine<&fyl2x>),
      ours("fptan", 6, 2, &replace_and_push<&fptan>),
      ours("fpatan", 6, 3, &combine<&fpatan>),
      ours("fyl2xp1", 7, 1, &combine<&fyl2xp1>),
      ours("fsincos", 7, 3, &replace_and_push<&fsincos>),
      ours("fsin", 7, 6, &replace<&fsin, true>),
      ours("fcos", 7, 7, &replace<&fcos, true>),
  };
  return kRows;
}

}  // namespace chronovisor::x87
