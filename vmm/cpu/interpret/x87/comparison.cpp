#include <array>

#include "vmm/cpu/interpret/x87/arithmetic.h"
#include "vmm/cpu/interpret/x87/support.h"

// Source: SDM vol. 2A, "FCOM" to "FXAM".

namespace chronovisor::x87 {
namespace {

constexpr unsigned kOrder = kSwC3 | kSwC2 | kSwC0;
constexpr unsigned kUnordered = kOrder;
constexpr X87Register kZero{};

/// Settles a comparison, then pops.
void conclude(X87State& s, unsigned result, unsigned pops) {
  const unsigned unmasked = signal(s, result & kSwExceptions);
  set_conditions(s, kSwConditions, result);
  if ((unmasked & kPreComputation) != 0) return;
  for (unsigned k = 0; k < pops; ++k) pop(s);
}
void conclude_underflow(X87State& s, unsigned pops) {
  const bool masked = stack_underflow(s);
  set_conditions(s, kOrder, kUnordered);
  if (!masked) return;
  for (unsigned k = 0; k < pops; ++k) pop(s);
}

template <bool Unordered, unsigned Pops>
void compare_register(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  if (empty(s, 0) || empty(s, index)) [[unlikely]] {
    conclude_underflow(s, Pops);
  } else {
    conclude(s, compare(get(s, 0), get(s, index), Unordered, s.control), Pops);
  }
}
template <class T, Source S, unsigned Pops>
void compare_memory(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  const T bits = cpu.load_operand<T>(i);
  note_instruction(cpu, i);
  if (empty(s, 0)) [[unlikely]] {
    conclude_underflow(s, Pops);
  } else {
    conclude(s, compare(get(s, 0), S, bits, s.control), Pops);
  }
}

/// FCOMI and FUCOMI: the order goes to ZF, PF and CF; OF, SF and AF become 0.
/// An unmasked exception keeps the pop away, not the flags. C1 changes only in
/// a stack fault.
template <bool Unordered, unsigned Pops>
void compare_to_flags(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  const unsigned index = i.modrm & 7U;
  unsigned order = kUnordered;
  bool completed = false;
  if (empty(s, 0) || empty(s, index)) [[unlikely]] {
    completed = stack_underflow(s);
  } else {
    order = compare(get(s, 0), get(s, index), Unordered, s.control);
    completed = (signal(s, order & kSwExceptions) & kPreComputation) == 0;
  }
  cpu.flags.set_arithmetic(((order & kSwC3) != 0 ? kZf : 0U) | ((order & kSwC2) != 0 ? kPf : 0U) |
                           ((order & kSwC0) != 0 ? kCf : 0U));
  if (Pops != 0 && completed) pop(s);
}

void ftst(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  if (empty(s, 0)) [[unlikely]] {
    conclude_underflow(s, 0);
  } else {
    conclude(s, compare(get(s, 0), kZero, false, s.control), 0);
  }
}
void fxam(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  unsigned conditions = examine(get(s, 0));
  if (empty(s, 0)) conditions = (conditions & kSwC1) | kSwC3 | kSwC0;
  set_conditions(s, kSwConditions, conditions);
}

}  // namespace

std::span<const Row> comparison_rows() {
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  constexpr bool kOrderedOnly = false;
  constexpr bool kQuiet = true;
  static const std::array kRows{
      memory_row("fcom m32", 0xd8, 2, &compare_memory<u32, Source::float32, 0>),
      memory_row("fcomp m32", 0xd8, 3, &compare_memory<u32, Source::float32, 1>),
      memory_row("fcom m64", 0xdc, 2, &compare_memory<u64, Source::float64, 0>),
      memory_row("fcomp m64", 0xdc, 3, &compare_memory<u64, Source::float64, 1>),
      memory_row("ficom m32", 0xda, 2, &compare_memory<u32, Source::int32, 0>),
      memory_row("ficomp m32", 0xda, 3, &compare_memory<u32, Source::int32, 1>),
      memory_row("ficom m16", 0xde, 2, &compare_memory<u16, Source::int16, 0>),
      memory_row("ficomp m16", 0xde, 3, &compare_memory<u16, Source::int16, 1>),
      register_row("fcom st(i)", 0xd8, 2, &compare_register<kOrderedOnly, 0>),
      register_row("fcomp st(i)", 0xd8, 3, &compare_register<kOrderedOnly, 1>),
      register_row("fcom2 st(i)", 0xdc, 2, &compare_register<kOrderedOnly, 0>),
      register_row("fcomp3 st(i)", 0xdc, 3, &compare_register<kOrderedOnly, 1>),
      register_row("fcomp5 st(i)", 0xde, 2, &compare_register<kOrderedOnly, 1>),
      register_row("fcompp", 0xde, 3, &compare_register<kOrderedOnly, 2>, 1),
      register_row("fucom st(i)", 0xdd, 4, &compare_register<kQuiet, 0>),
      register_row("fucomp st(i)", 0xdd, 5, &compare_register<kQuiet, 1>),
      register_row("fucompp", 0xda, 5, &compare_register<kQuiet, 2>, 1),
      register_row("fcomi st(i)", 0xdb, 6, &compare_to_flags<kOrderedOnly, 0>),
      register_row("fucomi st(i)", 0xdb, 5, &compare_to_flags<kQuiet, 0>),
      register_row("fcomip st(i)", 0xdf, 6, &compare_to_flags<kOrderedOnly, 1>),
      register_row("fucomip st(i)", 0xdf, 5, &compare_to_flags<kQuiet, 1>),
      register_row("ftst", 0xd9, 4, &ftst, 4),
      register_row("fxam", 0xd9, 4, &fxam, 5),
  };
  return kRows;
}

}  // namespace chronovisor::x87
