// Owns near branches, calls and returns, LOOP, BOUND and the instructions that
// are undefined on purpose. T is the operand size, which cuts the target.
// Stateless.
#pragma once

#include <type_traits>

#include "vmm/cpu/interpret/integer/conditions.h"
#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

/// Near jump with a target of the operand size. 64-bit operands are met in
/// 64-bit mode only, so nothing but the canonical form is left to check.
template <class T>
inline void jump(Cpu& cpu, T target) {
  if constexpr (sizeof(T) == 8) {
    if (!Cpu::canonical(target)) [[unlikely]]
      cpu.raise_gp0();
    cpu.rip() = target;
  } else {
    cpu.jump_near(target);
  }
}
template <class T>
[[nodiscard]] inline T relative_target(Cpu& cpu, const Instruction& i) {
  return static_cast<T>(cpu.rip() + i.immediate);
}

template <unsigned Code>
struct Jcc {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if (condition<Code>(cpu.flags)) jump<T>(cpu, relative_target<T>(cpu, i));
  }
};
struct JmpRelative {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    jump<T>(cpu, relative_target<T>(cpu, i));
  }
};
template <class Source>
struct JmpIndirect {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    jump<T>(cpu, Source::template load<T>(cpu, i));
  }
};

/// As on processors, a bad stack comes before a bad target, and the return
/// address is already written when the target raises #GP.
template <class T>
inline void call(Cpu& cpu, T target) {
  const u64 rsp = Cpu::cut(cpu.gpr(kRsp) - sizeof(T), cpu.stack_width());
  cpu.store<T>(kSs, rsp, static_cast<T>(cpu.rip()));
  jump<T>(cpu, target);
  cpu.set_stack_pointer(rsp);
}
struct CallRelative {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    call<T>(cpu, relative_target<T>(cpu, i));
  }
};
template <class Source>
struct CallIndirect {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    call<T>(cpu, Source::template load<T>(cpu, i));
  }
};
struct Ret {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    const u64 rsp = cpu.gpr(kRsp);
    jump<T>(cpu, cpu.load<T>(kSs, Cpu::cut(rsp, cpu.stack_width())));
    cpu.set_stack_pointer(rsp + sizeof(T));
  }
};
struct RetImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 rsp = cpu.gpr(kRsp);
    jump<T>(cpu, cpu.load<T>(kSs, Cpu::cut(rsp, cpu.stack_width())));
    cpu.set_stack_pointer(rsp + sizeof(T) + i.immediate);
  }
};

// When LOOP, LOOPE and LOOPNE go on, beside a counter that is not zero.
struct LoopAlways {
  static bool holds(const Flags& /*flags*/) { return true; }
};
struct LoopIfEqual {
  static bool holds(const Flags& flags) { return flags.zf(); }
};
struct LoopIfNotEqual {
  static bool holds(const Flags& flags) { return !flags.zf(); }
};

template <class Condition, class T, class A>
inline void loop_with_counter(Cpu& cpu, const Instruction& i) {
  const A count = static_cast<A>(cpu.reg<A>(kRcx) - 1U);
  if (count != 0 && Condition::holds(cpu.flags)) jump<T>(cpu, relative_target<T>(cpu, i));
  cpu.set_reg<A>(kRcx, count);
}
/// The address size chooses the counter.
template <class Condition>
struct Loop {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if (i.address_size == 8) {
      loop_with_counter<Condition, T, u64>(cpu, i);
    } else if (i.address_size == 4) {
      loop_with_counter<Condition, T, u32>(cpu, i);
    } else {
      loop_with_counter<Condition, T, u16>(cpu, i);
    }
  }
};
struct Jcxz {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if (Cpu::cut(cpu.gpr(kRcx), i.address_size) == 0) jump<T>(cpu, relative_target<T>(cpu, i));
  }
};

struct Bound {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    using Signed = std::make_signed_t<T>;
    const u64 offset = cpu.effective_address(i);
    const auto index = static_cast<Signed>(cpu.reg<T>(i.reg));
    // The upper bound is not read when the lower one is enough.
    if (index < static_cast<Signed>(cpu.load<T>(i.segment, offset))) cpu.raise(kBoundRange);
    const u64 second = Cpu::cut(offset + sizeof(T), i.address_size);
    if (index > static_cast<Signed>(cpu.load<T>(i.segment, second))) cpu.raise(kBoundRange);
  }
};

inline void undefined_on_purpose(Cpu& cpu, const Instruction& /*i*/) { cpu.raise_ud(); }

}  // namespace chronovisor::execute
