#include "vmm/cpu/interpret/x87/wide_float.h"

#include <bit>

namespace chronovisor::x87 {
namespace {

constexpr u128 kTopBit = u128{1} << 127;
constexpr int kUnmaskedScale = 24576;

int leading_zeros(u128 v) {
  const auto high = static_cast<std::uint64_t>(v >> 64);
  return high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<std::uint64_t>(v));
}

/// v >> count; the last bit remembers what fell out.
u128 shift_right_sticky(u128 v, int count) {
  if (count == 0 || v == 0) return v;
  if (count > 127) return 1;
  const bool lost = (v << (128 - count)) != 0;
  return (v >> count) | (lost ? 1 : 0);
}

u128 high_product(u128 a, u128 b) {
  const auto a1 = static_cast<std::uint64_t>(a >> 64);
  const auto a0 = static_cast<std::uint64_t>(a);
  const auto b1 = static_cast<std::uint64_t>(b >> 64);
  const auto b0 = static_cast<std::uint64_t>(b);
  const u128 low = u128{a0} * b0;
  const u128 middle1 = u128{a1} * b0 + (low >> 64);
  const u128 middle2 = u128{a0} * b1 + static_cast<std::uint64_t>(middle1);
  return u128{a1} * b1 + (middle1 >> 64) + (middle2 >> 64);
}

/// A significand cut to 64 bits by the rounding mode. After a carry out of the
/// top the significand is 0.
struct Rounded {
  std::uint64_t significand;
  bool inexact;
  bool up;
};
Rounded round_significand(u128 v, bool negative, bool inexact, Rounding mode) {
  const auto kept = static_cast<std::uint64_t>(v >> 64);
  const auto rest = static_cast<std::uint64_t>(v);
  constexpr std::uint64_t kHalf = 1ULL << 63;
  const bool any = rest != 0 || inexact;
  bool up = false;
  switch (mode) {
    case Rounding::nearest:
      up = rest > kHalf || (rest == kHalf && (inexact || (kept & 1) != 0));
      break;
    case Rounding::down:
      up = any && negative;
      break;
    case Rounding::up:
      up = any && !negative;
      break;
    case Rounding::toward_zero:
      break;
  }
  return {kept + (up ? 1 : 0), any, up};
}

X87Register make(std::uint64_t significand, int biased, bool negative) {
  return {significand,
          static_cast<std::uint16_t>((negative ? kSignBit : 0U) | static_cast<unsigned>(biased))};
}
std::uint16_t flags_of(const Rounded& r) {
  return static_cast<std::uint16_t>((r.inexact ? kSwPrecision : 0U) | (r.up ? kSwC1 : 0U));
}

Outcome overflowed(const WideFloat& value, std::uint16_t control) {
  const Rounding mode = rounding(control);
  const bool to_infinity =
      mode == Rounding::nearest || mode == (value.negative ? Rounding::down : Rounding::up);
  const auto status =
      static_cast<std::uint16_t>(kSwOverflow | kSwPrecision | (to_infinity ? kSwC1 : 0U));
  if (to_infinity) return {make(kIntegerBit, kMaxExponent, value.negative), status};
  return {make(~0ULL, kMaxExponent - 1, value.negative), status};
}

}  // namespace

WideFloat normalised(u128 significand, int exponent, bool negative) {
  if (significand == 0) return {0, 0, negative};
  const int shift = leading_zeros(significand);
  return {significand << shift, exponent - shift, negative};
}

WideFloat from_integer(std::int64_t value) {
  const bool negative = value < 0;
  const std::uint64_t magnitude =
      negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  return normalised(magnitude, 127, negative);
}

WideFloat from_register(const X87Register& r) {
  const int e = x87::exponent(r) == 0 ? 1 : static_cast<int>(x87::exponent(r));
  return normalised(u128{r.significand} << 64, e - kExponentBias, x87::negative(r));
}

WideFloat operator+(const WideFloat& a, const WideFloat& b) {
  if (a.zero()) return b;
  if (b.zero()) return a;
  const bool swap =
      a.exponent < b.exponent || (a.exponent == b.exponent && a.significand < b.significand);
  const WideFloat& large = swap ? b : a;
  const WideFloat& small = swap ? a : b;
  const u128 shifted = shift_right_sticky(small.significand, large.exponent - small.exponent);
  if (large.negative != small.negative) {
    return normalised(large.significand - shifted, large.exponent, large.negative);
  }
  const u128 sum = large.significand + shifted;
  if (sum >= large.significand) return {sum, large.exponent, large.negative};
  return {kTopBit | (sum >> 1) | (sum & 1), large.exponent + 1, large.negative};
}

WideFloat operator*(const WideFloat& a, const WideFloat& b) {
  const bool negative = a.negative != b.negative;
  if (a.zero() || b.zero()) return {0, 0, negative};
  return normalised(high_product(a.significand, b.significand), a.exponent + b.exponent + 1,
                    negative);
}

WideFloat operator/(const WideFloat& a, const WideFloat& b) {
  const bool negative = a.negative != b.negative;
  if (a.zero()) return {0, 0, negative};
  u128 rest = a.significand;
  u128 quotient = 0;
  bool carry = false;  // bit 128 of the rest
  for (int k = 0; k < 128; ++k) {
    quotient <<= 1;
    if (carry || rest >= b.significand) {
      rest -= b.significand;
      quotient |= 1;
    }
    carry = (rest & kTopBit) != 0;
    rest <<= 1;
  }
  return normalised(quotient, a.exponent - b.exponent, negative);
}

WideFloat divided(const WideFloat& a, std::uint32_t b) {
  if (a.zero()) return a;
  // 160 bits by 32: the quotient keeps all 128 bits of precision.
  const u128 high = a.significand / b;
  const u128 rest = a.significand % b;
  const auto low = static_cast<std::uint32_t>((rest << 32) / b);
  const int shift = leading_zeros(high);  // at most 32
  const u128 fraction = shift == 0 ? 0 : shift == 32 ? u128{low} : u128{low >> (32 - shift)};
  return {(high << shift) | fraction, a.exponent - shift, a.negative};
}

Outcome round_to_register(const WideFloat& value, Exactness exactness, std::uint16_t control) {
  if (value.zero()) return {make(0, 0, value.negative), 0};
  const bool approximate = exactness == Exactness::inexact;
  const Rounding mode = rounding(control);
  Rounded r = round_significand(value.significand, value.negative, approximate, mode);
  int biased = value.exponent + kExponentBias;
  if (r.significand == 0) {
    r.significand = kIntegerBit;
    ++biased;
  }
  std::uint16_t status = flags_of(r);
  if (biased >= kMaxExponent) {
    if ((control & kSwOverflow) != 0) return overflowed(value, control);
    return {make(r.significand, biased - kUnmaskedScale, value.negative),
            static_cast<std::uint16_t>(status | kSwOverflow)};
  }
  if (biased > 0) return {make(r.significand, biased, value.negative), status};
  // Tiny, judged after rounding.
  if ((control & kSwUnderflow) == 0) {
    return {make(r.significand, biased + kUnmaskedScale, value.negative),
            static_cast<std::uint16_t>(status | kSwUnderflow)};
  }
  const int shift = 1 - (value.exponent + kExponentBias);
  r = round_significand(shift_right_sticky(value.significand, shift), value.negative, approximate,
                        mode);
  status = flags_of(r);
  if (r.inexact) status = static_cast<std::uint16_t>(status | kSwUnderflow);
  return {make(r.significand, (r.significand & kIntegerBit) != 0 ? 1 : 0, value.negative), status};
}

}  // namespace chronovisor::x87
