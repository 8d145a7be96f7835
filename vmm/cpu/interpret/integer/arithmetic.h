// Owns the two-operand arithmetic and logic instructions, INC, DEC, NEG and
// NOT. An operation computes a result and sets the flags; the families below
// bring operands to it. Stateless.
#pragma once

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

struct Add {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a + b);
    flags.set_add<T>(a, b, result);
    return result;
  }
};
struct Adc {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a + b + (flags.cf() ? 1U : 0U));
    flags.set_add<T>(a, b, result);
    return result;
  }
};
struct Sub {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a - b);
    flags.set_sub<T>(a, b, result);
    return result;
  }
};
struct Sbb {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a - b - (flags.cf() ? 1U : 0U));
    flags.set_sub<T>(a, b, result);
    return result;
  }
};
struct Cmp : Sub {
  static constexpr bool kWrites = false;
};
struct And {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a & b);
    flags.set_logic<T>(result);
    return result;
  }
};
struct Or {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a | b);
    flags.set_logic<T>(result);
    return result;
  }
};
struct Xor {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(Flags& flags, T a, T b) {
    const T result = static_cast<T>(a ^ b);
    flags.set_logic<T>(result);
    return result;
  }
};
struct Test : And {
  static constexpr bool kWrites = false;
};

// One-operand operations.
struct Inc {
  template <class T>
  static T apply(Flags& flags, T a) {
    const T result = static_cast<T>(a + 1U);
    flags.set_inc<T>(result);
    return result;
  }
};
struct Dec {
  template <class T>
  static T apply(Flags& flags, T a) {
    const T result = static_cast<T>(a - 1U);
    flags.set_dec<T>(result);
    return result;
  }
};
struct Neg {
  template <class T>
  static T apply(Flags& flags, T a) {
    const T result = static_cast<T>(T{0} - a);
    flags.set_sub<T>(T{0}, a, result);
    return result;
  }
};
struct Not {
  template <class T>
  static T apply(Flags& /*flags*/, T a) {
    return static_cast<T>(~a);
  }
};

/// Where the second operand of `rm, x` comes from.
struct SecondIsReg {
  template <class T>
  static T get(Cpu& cpu, const Instruction& i) {
    return cpu.reg<T>(i.reg);
  }
};
struct SecondIsImmediate {
  template <class T>
  static T get(Cpu& /*cpu*/, const Instruction& i) {
    return static_cast<T>(i.immediate);
  }
};

/// op register(rm), second.
template <class Op, class Second>
struct AluRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T result =
        Op::template apply<T>(cpu.flags, cpu.reg<T>(i.rm), Second::template get<T>(cpu, i));
    if constexpr (Op::kWrites) cpu.set_reg<T>(i.rm, result);
  }
};
/// op memory(rm), second.
template <class Op, class Second>
struct AluMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T second = Second::template get<T>(cpu, i);
    const u64 offset = cpu.effective_address(i);
    if constexpr (Op::kWrites) {
      const T first = cpu.load_for_update<T>(i.segment, offset);
      cpu.store<T>(i.segment, offset, Op::template apply<T>(cpu.flags, first, second));
    } else {
      Op::template apply<T>(cpu.flags, cpu.load<T>(i.segment, offset), second);
    }
  }
};
/// op reg, rm.
template <class Op, class Source>
struct AluToReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T second = Source::template load<T>(cpu, i);
    const T result = Op::template apply<T>(cpu.flags, cpu.reg<T>(i.reg), second);
    if constexpr (Op::kWrites) cpu.set_reg<T>(i.reg, result);
  }
};
/// op accumulator, immediate.
template <class Op>
struct AluAccumulator {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T result =
        Op::template apply<T>(cpu.flags, cpu.reg<T>(kRax), static_cast<T>(i.immediate));
    if constexpr (Op::kWrites) cpu.set_reg<T>(kRax, result);
  }
};

template <class Op>
struct UnaryRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.rm, Op::template apply<T>(cpu.flags, cpu.reg<T>(i.rm)));
  }
};
template <class Op>
struct UnaryMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 offset = cpu.effective_address(i);
    const T value = cpu.load_for_update<T>(i.segment, offset);
    cpu.store<T>(i.segment, offset, Op::template apply<T>(cpu.flags, value));
  }
};
/// INC and DEC with the register in the opcode.
template <class Op>
struct UnaryPlusRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, Op::template apply<T>(cpu.flags, cpu.reg<T>(i.reg)));
  }
};

}  // namespace chronovisor::execute
