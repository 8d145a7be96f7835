// Owns MUL, IMUL, DIV and IDIV. Undefined flags follow current Intel
// processors: after a multiplication SF and PF come from the low half, ZF and
// AF are 0; a division leaves all flags alone. Stateless.
#pragma once

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

/// The type that holds a product of two T.
template <class T>
struct Doubled;
template <>
struct Doubled<u8> {
  using Unsigned = u16;
  using Signed = std::int16_t;
};
template <>
struct Doubled<u16> {
  using Unsigned = u32;
  using Signed = std::int32_t;
};
template <>
struct Doubled<u32> {
  using Unsigned = u64;
  using Signed = std::int64_t;
};
template <>
struct Doubled<u64> {
  using Unsigned = u128;
  using Signed = s128;
};
template <class T>
using DoubledUnsigned = typename Doubled<T>::Unsigned;
template <class T>
using DoubledSigned = typename Doubled<T>::Signed;

template <class T>
void set_multiply_flags(Flags& flags, T low, bool overflow) {
  if (low != 0) [[likely]] {
    flags.set_result<T>(low, overflow, overflow);
  } else {
    flags.set_arithmetic(kPf | (overflow ? kCf | kOf : 0U));
  }
}

/// AX for bytes, else rDX : rAX.
template <class T>
[[nodiscard]] DoubledUnsigned<T> load_double_accumulator(const Cpu& cpu) {
  if constexpr (sizeof(T) == 1) {
    return cpu.reg<u16>(kRax);
  } else {
    return static_cast<DoubledUnsigned<T>>(
        (static_cast<DoubledUnsigned<T>>(cpu.reg<T>(kRdx)) << kBits<T>) | cpu.reg<T>(kRax));
  }
}
/// `low` to AL or rAX, `high` to AH or rDX.
template <class T>
void store_double_accumulator(Cpu& cpu, T low, T high) {
  if constexpr (sizeof(T) == 1) {
    cpu.set_reg<u16>(kRax, static_cast<u16>(low | (high << 8)));
  } else {
    cpu.set_reg<T>(kRax, low);
    cpu.set_reg<T>(kRdx, high);
  }
}

template <class Source>
struct Mul {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const auto product = static_cast<DoubledUnsigned<T>>(
        static_cast<DoubledUnsigned<T>>(cpu.reg<T>(kRax)) * Source::template load<T>(cpu, i));
    const T low = static_cast<T>(product);
    const T high = static_cast<T>(product >> kBits<T>);
    store_double_accumulator<T>(cpu, low, high);
    set_multiply_flags<T>(cpu.flags, low, high != 0);
  }
};

template <class T>
[[nodiscard]] DoubledSigned<T> signed_product(T a, T b) {
  return static_cast<DoubledSigned<T>>(
      static_cast<DoubledSigned<T>>(static_cast<std::make_signed_t<T>>(a)) *
      static_cast<std::make_signed_t<T>>(b));
}
template <class T>
[[nodiscard]] bool product_overflows(DoubledSigned<T> product) {
  return product != static_cast<std::make_signed_t<T>>(static_cast<T>(product));
}

/// One operand: rDX : rAX = rAX * rm.
template <class Source>
struct ImulWide {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const DoubledSigned<T> product =
        signed_product<T>(cpu.reg<T>(kRax), Source::template load<T>(cpu, i));
    const T low = static_cast<T>(product);
    store_double_accumulator<T>(cpu, low, static_cast<T>(product >> kBits<T>));
    set_multiply_flags<T>(cpu.flags, low, product_overflows<T>(product));
  }
};

template <class T>
void imul_to_reg(Cpu& cpu, const Instruction& i, T a, T b) {
  const DoubledSigned<T> product = signed_product<T>(a, b);
  const T low = static_cast<T>(product);
  cpu.set_reg<T>(i.reg, low);
  set_multiply_flags<T>(cpu.flags, low, product_overflows<T>(product));
}
/// reg = reg * rm.
template <class Source>
struct ImulReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    imul_to_reg<T>(cpu, i, cpu.reg<T>(i.reg), Source::template load<T>(cpu, i));
  }
};
/// reg = rm * immediate.
template <class Source>
struct ImulImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    imul_to_reg<T>(cpu, i, Source::template load<T>(cpu, i), static_cast<T>(i.immediate));
  }
};

template <class Source>
struct Div {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T divisor = Source::template load<T>(cpu, i);
    const DoubledUnsigned<T> dividend = load_double_accumulator<T>(cpu);
    // The quotient fits exactly if the high half is below the divisor; this covers 0 too.
    const T high = static_cast<T>(dividend >> kBits<T>);
    if (high >= divisor) cpu.raise(kDivideError);
    if (high == 0) {
      const T low = static_cast<T>(dividend);
      store_double_accumulator<T>(cpu, static_cast<T>(low / divisor),
                                  static_cast<T>(low % divisor));
    } else {
      store_double_accumulator<T>(cpu, static_cast<T>(dividend / divisor),
                                  static_cast<T>(dividend % divisor));
    }
  }
};

template <class Source>
struct Idiv {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T divisor = Source::template load<T>(cpu, i);
    if (divisor == 0) cpu.raise(kDivideError);
    const DoubledUnsigned<T> dividend = load_double_accumulator<T>(cpu);
    const bool negative = top_bit(static_cast<T>(dividend >> kBits<T>));
    const bool negative_quotient = negative != top_bit(divisor);
    const auto magnitude =
        negative ? static_cast<DoubledUnsigned<T>>(DoubledUnsigned<T>{0} - dividend) : dividend;
    const T by = top_bit(divisor) ? static_cast<T>(T{0} - divisor) : divisor;
    const auto quotient = static_cast<DoubledUnsigned<T>>(magnitude / by);
    const T remainder = static_cast<T>(magnitude % by);
    constexpr T kLargest = static_cast<T>(static_cast<T>(~T{0}) >> 1);
    if (quotient > static_cast<DoubledUnsigned<T>>(kLargest) + (negative_quotient ? 1U : 0U)) {
      cpu.raise(kDivideError);
    }
    const T low = static_cast<T>(quotient);
    store_double_accumulator<T>(cpu, negative_quotient ? static_cast<T>(T{0} - low) : low,
                                negative ? static_cast<T>(T{0} - remainder) : remainder);
  }
};

}  // namespace chronovisor::execute
