// Owns MOVS, STOS, LODS, CMPS and SCAS with and without REP. An operation does
// one element exactly, and may do many at once where host memory can be reached
// directly. An iteration is a step: run_string() keeps the books. Stateless.
//
// T is the element, A the type of the addresses and the counter.
#pragma once

#include <algorithm>
#include <limits>

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

template <class T, class A>
void advance(Cpu& cpu, unsigned index, u64 elements) {
  const u64 bytes = elements * sizeof(T);
  const u64 at = cpu.reg<A>(index);
  cpu.set_reg<A>(index, static_cast<A>(cpu.flags.test(kDf) ? at - bytes : at + bytes));
}

/// How far a forward run of elements may go from `offset` without any check:
/// within the page, the segment and the address size. No bytes if the element
/// must be done the exact way. Raises what the first element would raise. To be
/// asked in the order in which an element accesses memory, after the one before succeeded.
template <class T, class A, Access access>
[[nodiscard]] Cpu::DirectSpan reach(Cpu& cpu, unsigned segment, A offset) {
  u64 in_segment = std::numeric_limits<u64>::max();
  if (!cpu.long64()) {
    const SegmentRegister& s = cpu.state.segment[segment];
    const bool expands_down = (s.type() & 0xcU) == 4;
    if (expands_down || offset > s.limit) return {};
    in_segment = std::min<u64>(u64{s.limit} - offset + 1, u64{0xffffffff} - offset + 1);
  }
  if constexpr (sizeof(A) < 8) {
    in_segment = std::min(in_segment, u64{std::numeric_limits<A>::max()} - offset + 1);
  }
  if (in_segment < sizeof(T)) return {};
  const u64 linear = cpu.linear<access>(segment, offset, sizeof(T));
  Cpu::DirectSpan span = cpu.direct(linear, access);
  // Two pages may want the same entry of the TLB: what is found here stays good without it.
  if (span.bytes == 0 && cpu.refill(linear, sizeof(T), access)) {
    span = cpu.direct(linear, access);
  }
  span.bytes = std::min(span.bytes, in_segment);
  return span;
}

template <class T>
[[nodiscard]] inline T host_element(const std::uint8_t* host, u64 index) {
  T value;
  std::memcpy(&value, host + index * sizeof(T), sizeof(T));
  return value;
}

/// What a bulk operation did.
struct Bulk {
  u64 elements = 0;       ///< 0: go element by element
  bool finished = false;  ///< REPE or REPNE ended it
};

/// REPE goes on while elements are equal, REPNE while they differ.
[[nodiscard]] inline bool comparison_ends(const Instruction& i, bool equal) {
  return equal == (i.repeat == 0xf2);
}

template <class T, class A>
struct Movs {
  using Address = A;
  static bool one(Cpu& cpu, const Instruction& i) {
    cpu.store<T>(kEs, cpu.reg<A>(kRdi), cpu.load<T>(i.segment, cpu.reg<A>(kRsi)));
    advance<T, A>(cpu, kRsi, 1);
    advance<T, A>(cpu, kRdi, 1);
    return false;
  }
  static Bulk forward(Cpu& cpu, const Instruction& i, u64 most) {
    const auto from = reach<T, A, Access::read>(cpu, i.segment, cpu.reg<A>(kRsi));
    if (from.bytes < sizeof(T)) return {};
    const auto to = reach<T, A, Access::write>(cpu, kEs, cpu.reg<A>(kRdi));
    const u64 count = std::min(most, std::min(from.bytes, to.bytes) / sizeof(T));
    copy(to.host, from.host, count);
    advance<T, A>(cpu, kRsi, count);
    advance<T, A>(cpu, kRdi, count);
    return {count, false};
  }
  /// Elements in ascending order: a destination just above the source repeats it.
  static void copy(std::uint8_t* to, const std::uint8_t* from, u64 count) {
    const u64 bytes = count * sizeof(T);
    if (to > from && to < from + bytes) {
      for (u64 k = 0; k < count; ++k) {
        const T value = host_element<T>(from, k);
        std::memcpy(to + k * sizeof(T), &value, sizeof(T));
      }
    } else if (bytes != 0) {
      std::memmove(to, from, bytes);
    }
  }
  static void nothing(Cpu& cpu) {
    cpu.set_reg<A>(kRsi, cpu.reg<A>(kRsi));
    cpu.set_reg<A>(kRdi, cpu.reg<A>(kRdi));
  }
};

template <class T, class A>
struct Stos {
  using Address = A;
  static bool one(Cpu& cpu, const Instruction& /*i*/) {
    cpu.store<T>(kEs, cpu.reg<A>(kRdi), cpu.reg<T>(kRax));
    advance<T, A>(cpu, kRdi, 1);
    return false;
  }
  static Bulk forward(Cpu& cpu, const Instruction& /*i*/, u64 most) {
    const auto to = reach<T, A, Access::write>(cpu, kEs, cpu.reg<A>(kRdi));
    const u64 count = std::min(most, to.bytes / sizeof(T));
    const T value = cpu.reg<T>(kRax);
    for (u64 k = 0; k < count; ++k) std::memcpy(to.host + k * sizeof(T), &value, sizeof(T));
    advance<T, A>(cpu, kRdi, count);
    return {count, false};
  }
  static void nothing(Cpu& cpu) { cpu.set_reg<A>(kRdi, cpu.reg<A>(kRdi)); }
};

template <class T, class A>
struct Lods {
  using Address = A;
  static bool one(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(kRax, cpu.load<T>(i.segment, cpu.reg<A>(kRsi)));
    advance<T, A>(cpu, kRsi, 1);
    return false;
  }
  static Bulk forward(Cpu& cpu, const Instruction& i, u64 most) {
    const auto from = reach<T, A, Access::read>(cpu, i.segment, cpu.reg<A>(kRsi));
    const u64 count = std::min(most, from.bytes / sizeof(T));
    if (count == 0) return {};
    cpu.set_reg<T>(kRax, host_element<T>(from.host, count - 1));
    advance<T, A>(cpu, kRsi, count);
    return {count, false};
  }
  static void nothing(Cpu& /*cpu*/) {}
};

template <class T, class A>
struct Cmps {
  using Address = A;
  static bool one(Cpu& cpu, const Instruction& i) {
    // If both fault, processors report the one at ES:DI.
    const T b = cpu.load<T>(kEs, cpu.reg<A>(kRdi));
    const T a = cpu.load<T>(i.segment, cpu.reg<A>(kRsi));
    advance<T, A>(cpu, kRsi, 1);
    advance<T, A>(cpu, kRdi, 1);
    cpu.flags.set_sub<T>(a, b, static_cast<T>(a - b));
    return comparison_ends(i, a == b);
  }
  static Bulk forward(Cpu& cpu, const Instruction& i, u64 most) {
    const auto second = reach<T, A, Access::read>(cpu, kEs, cpu.reg<A>(kRdi));
    if (second.bytes < sizeof(T)) return {};
    const auto first = reach<T, A, Access::read>(cpu, i.segment, cpu.reg<A>(kRsi));
    const u64 count = std::min(most, std::min(first.bytes, second.bytes) / sizeof(T));
    if (count == 0) return {};
    u64 done = 0;
    T a = 0;
    T b = 0;
    bool finished = false;
    while (done < count && !finished) {
      a = host_element<T>(first.host, done);
      b = host_element<T>(second.host, done);
      ++done;
      finished = comparison_ends(i, a == b);
    }
    advance<T, A>(cpu, kRsi, done);
    advance<T, A>(cpu, kRdi, done);
    cpu.flags.set_sub<T>(a, b, static_cast<T>(a - b));
    return {done, finished};
  }
  static void nothing(Cpu& /*cpu*/) {}
};

template <class T, class A>
struct Scas {
  using Address = A;
  static bool one(Cpu& cpu, const Instruction& i) {
    const T a = cpu.reg<T>(kRax);
    const T b = cpu.load<T>(kEs, cpu.reg<A>(kRdi));
    advance<T, A>(cpu, kRdi, 1);
    cpu.flags.set_sub<T>(a, b, static_cast<T>(a - b));
    return comparison_ends(i, a == b);
  }
  static Bulk forward(Cpu& cpu, const Instruction& i, u64 most) {
    const auto second = reach<T, A, Access::read>(cpu, kEs, cpu.reg<A>(kRdi));
    const u64 count = std::min(most, second.bytes / sizeof(T));
    if (count == 0) return {};
    const T a = cpu.reg<T>(kRax);
    T b = 0;
    u64 done = 0;
    bool finished = false;
    while (done < count && !finished) {
      b = host_element<T>(second.host, done);
      ++done;
      finished = comparison_ends(i, a == b);
    }
    advance<T, A>(cpu, kRdi, done);
    cpu.flags.set_sub<T>(a, b, static_cast<T>(a - b));
    return {done, finished};
  }
  static void nothing(Cpu& /*cpu*/) {}
};

template <class Op>
void run_string(Cpu& cpu, const Instruction& i) {
  using A = typename Op::Address;
  if (i.repeat == 0) {
    Op::one(cpu, i);
    return;
  }
  A count = cpu.reg<A>(kRcx);
  if (count == 0) {
    // Intel processors cut the counter, and the pointers of MOVS and STOS, to the address size.
    cpu.set_reg<A>(kRcx, 0);
    Op::nothing(cpu);
    return;
  }
  u64 budget = cpu.repeat_budget();
  while (true) {
    Bulk done;
    if (!cpu.flags.test(kDf)) done = Op::forward(cpu, i, std::min<u64>(count, budget));
    if (done.elements == 0) done = {1, Op::one(cpu, i)};
    count = static_cast<A>(count - done.elements);
    cpu.set_reg<A>(kRcx, count);
    cpu.count_iterations(done.elements);
    if (count == 0 || done.finished) return;
    budget -= done.elements;
    if (budget == 0 || cpu.repeat_must_pause()) {
      cpu.repeat_unfinished();
      return;
    }
  }
}

template <template <class, class> class Op>
struct StringFamily {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if (i.address_size == 8) {
      run_string<Op<T, u64>>(cpu, i);
    } else if (i.address_size == 4) {
      run_string<Op<T, u32>>(cpu, i);
    } else {
      run_string<Op<T, u16>>(cpu, i);
    }
  }
};

}  // namespace chronovisor::execute
