#include "vmm/cpu/interpret/x87/transcendental.h"

#include <array>
#include <optional>

#include "vmm/cpu/interpret/x87/arithmetic.h"
#include "vmm/cpu/interpret/x87/wide_float.h"

namespace chronovisor::x87 {
namespace {

constexpr WideFloat kOne{wide_bits(1ULL << 63, 0), 0, false};
constexpr WideFloat kPi{wide_bits(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), 1, false};
constexpr WideFloat kHalfPi{kPi.significand, 0, false};
constexpr WideFloat kLn2{wide_bits(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), -1, false};
constexpr WideFloat kTwoLog2E{wide_bits(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88), 1, false};
constexpr X87Register kRegisterOne{kIntegerBit, kExponentBias};

/// Terms below this part of the sum no longer count.
constexpr int kPrecisionBits = 126;
bool negligible(const WideFloat& term, const WideFloat& sum) {
  return term.zero() || term.exponent < sum.exponent - kPrecisionBits;
}

// ============================ exceptions ==============================================
Outcome invalid() { return {kIndefinite, kSwInvalid}; }
Outcome signed_zero(bool negative) { return {{0, negative ? kSignBit : std::uint16_t{0}}, 0}; }
Outcome signed_infinity(bool negative) {
  return {{kIntegerBit, static_cast<std::uint16_t>(kMaxExponent | (negative ? kSignBit : 0U))}, 0};
}
Outcome division_by_zero(bool negative) {
  Outcome out = signed_infinity(negative);
  out.status = kSwZeroDivide;
  return out;
}
bool nan_or_unsupported(Class c) { return c == Class::nan || c == Class::unsupported; }

/// NaNs and unsupported operands end as in every other operation.
std::optional<Outcome> propagate(const X87Register& x, const X87Register& y) {
  if (!nan_or_unsupported(classify(x)) && !nan_or_unsupported(classify(y))) return std::nullopt;
  Outcome out = binary(Binary::add, x, y, kCwInitial);
  out.status &= kSwExceptions;
  return out;
}
std::optional<Outcome> propagate(const X87Register& x) { return propagate(x, x); }

/// An unmasked denormal operand ends the operation before it has a result, so
/// no other flag comes with it.
std::uint16_t with_denormal(std::uint16_t status, bool denormal, std::uint16_t control) {
  if (!denormal) return status;
  if ((control & kSwDenormal) == 0) return kSwDenormal;
  return static_cast<std::uint16_t>(status | kSwDenormal);
}
Outcome with_denormal(Outcome out, bool denormal, std::uint16_t control) {
  out.status = with_denormal(out.status, denormal, control);
  return out;
}
bool denormal(const X87Register& r) { return classify(r) == Class::denormal; }

// ============================ exponential and logarithm ===============================
/// e^x - 1 for |x| < 1.
WideFloat exponential_minus_one(const WideFloat& x) {
  WideFloat term = x;
  WideFloat sum = x;
  for (std::uint32_t k = 2; !negligible(term, sum); ++k) {
    term = divided(term * x, k);
    sum = sum + term;
  }
  return sum;
}

/// sum of sign^n * x^(2n+1) / (2n+1): atanh with `sign` +1, arctangent with -1.
WideFloat odd_series(const WideFloat& x, int sign) {
  WideFloat square = x * x;
  if (sign < 0) square = -square;
  WideFloat power = x;
  WideFloat sum = x;
  for (std::uint32_t k = 3;; k += 2) {
    power = power * square;
    const WideFloat term = divided(power, k);
    if (negligible(term, sum)) return sum + term;
    sum = sum + term;
  }
}

/// log2 of a positive number.
WideFloat binary_logarithm(const WideFloat& x, Exactness& exactness) {
  // x = m * 2^e with m between sqrt(1/2) and sqrt(2), so that the two parts
  // of the sum never cancel.
  constexpr std::uint64_t kSqrt2 = 0xb504f333f9de6484;
  WideFloat m{x.significand, 0, false};
  int e = x.exponent;
  if (static_cast<std::uint64_t>(m.significand >> 64) >= kSqrt2) {
    m.exponent = -1;
    ++e;
  }
  const WideFloat fraction = m - kOne;
  const WideFloat whole = from_integer(e);
  if (fraction.zero()) {
    exactness = Exactness::exact;
    return whole;
  }
  exactness = Exactness::inexact;
  return whole + odd_series(fraction / (m + kOne), 1) * kTwoLog2E;
}

/// log2(1 + x) for x above -1.
WideFloat binary_logarithm_plus_one(const WideFloat& x, Exactness& exactness) {
  constexpr int kSmall = -2;  // |x| < 1/2: 1 + x would lose bits of x
  if (x.exponent > kSmall) return binary_logarithm(kOne + x, exactness);
  exactness = Exactness::inexact;
  return odd_series(x / (kOne + kOne + x), 1) * kTwoLog2E;
}

// ============================ trigonometry ============================================
/// x = quarters * (pi66 / 2) + rest, |rest| <= pi66 / 4, exactly.
struct Reduced {
  WideFloat rest;
  unsigned quarters;
};
Reduced reduce(const X87Register& x) {
  constexpr u128 kHalfPi66 = wide_bits(3, 0x243f6a8885a308d3);  // in units of 2^-65
  constexpr int kUnit = -65;
  const WideFloat value = from_register(x);
  if (value.exponent < -2) return {value, 0};
  u128 rest = value.significand >> 64;  // in units of 2^(exponent - 63)
  unsigned quarters = 0;
  const int steps = value.exponent - 63 - kUnit;
  for (int k = 0; k < steps; ++k) {
    rest <<= 1;
    quarters <<= 1;
    if (rest >= kHalfPi66) {
      rest -= kHalfPi66;
      quarters |= 1;
    }
  }
  bool negative = value.negative;
  if (2 * rest > kHalfPi66) {
    rest = kHalfPi66 - rest;
    negative = !negative;
    ++quarters;
  }
  quarters &= 3;
  if (value.negative) quarters = (4 - quarters) & 3;
  return {normalised(rest, 127 + kUnit, negative), quarters};
}

/// Sine and cosine by their series, |x| < 1: `term` is the first one, and each
/// is the one before times -x^2 / (k (k + 1)).
WideFloat alternating_series(WideFloat term, const WideFloat& x, std::uint32_t k) {
  const WideFloat square = -(x * x);
  WideFloat sum = term;
  while (true) {
    term = divided(term * square, k * (k + 1));
    sum = sum + term;
    if (negligible(term, sum)) return sum;
    k += 2;
  }
}
WideFloat sine_series(const WideFloat& x) { return alternating_series(x, x, 2); }
WideFloat cosine_series(const WideFloat& x) { return alternating_series(kOne, x, 1); }

WideFloat sine_of(const Reduced& r) {
  const WideFloat value = (r.quarters & 1) != 0 ? cosine_series(r.rest) : sine_series(r.rest);
  return (r.quarters & 2) != 0 ? -value : value;
}
WideFloat cosine_of(const Reduced& r) { return sine_of({r.rest, (r.quarters + 1) & 3}); }

/// arctan(k / 16) for k up to 16, by Euler's series
/// sum of (2^2n n!^2 / (2n+1)!) q^(2n+1) / (1 + q^2)^(n+1).
using ArctangentTable = std::array<WideFloat, 17>;
const ArctangentTable& arctangent_table() {
  static const ArctangentTable table = [] {
    ArctangentTable t{};
    for (std::size_t k = 1; k < t.size(); ++k) {
      const WideFloat q = divided(from_integer(static_cast<std::int64_t>(k)), 16);
      const WideFloat ratio = q * q / (kOne + q * q);
      WideFloat term = q / (kOne + q * q);
      for (std::uint32_t n = 1; t[k].zero() || !negligible(term, t[k]); ++n) {
        t[k] = t[k] + term;
        term = divided(term * ratio * from_integer(2 * n), 2 * n + 1);
      }
    }
    return t;
  }();
  return table;
}

/// arctan of q, 0 < q <= 1.
WideFloat arctangent(const WideFloat& q) {
  // The nearest sixteenth: its tangent difference leaves at most 1/32.
  std::size_t nearest = 0;
  if (q.exponent >= -5) {
    const auto in_32nds = static_cast<std::size_t>(q.significand >> (127 - (q.exponent + 5)));
    nearest = (in_32nds + 1) / 2;
  }
  if (nearest == 0) return odd_series(q, -1);
  const WideFloat c = divided(from_integer(static_cast<std::int64_t>(nearest)), 16);
  const WideFloat difference = (q - c) / (kOne + q * c);
  const WideFloat& base = arctangent_table()[nearest];
  return difference.zero() ? base : base + odd_series(difference, -1);
}

/// What FSIN, FCOS, FSINCOS and FPTAN do before they compute; nothing if the
/// operand is finite, not zero and in range.
std::optional<Outcome> trigonometric_special(const X87Register& x, const X87Register& at_zero) {
  if (auto out = propagate(x)) return out;
  const Class c = classify(x);
  if (c == Class::infinity) return invalid();
  if (c == Class::zero) return Outcome{at_zero, 0};
  if (exponent(x) >= unsigned{kExponentBias} + 63) return Outcome{x, kSwC2};
  return std::nullopt;
}

Outcome rounded(const WideFloat& value, std::uint16_t control) {
  return round_to_register(value, Exactness::inexact, control);
}

/// Both magnitudes are finite and not zero.
WideFloat angle(const WideFloat& x, const WideFloat& y) {
  const WideFloat across{x.significand, x.exponent, false};
  const WideFloat up{y.significand, y.exponent, false};
  const bool steep = up.exponent > across.exponent ||
                     (up.exponent == across.exponent && up.significand > across.significand);
  WideFloat result = steep ? kHalfPi - arctangent(across / up) : arctangent(up / across);
  if (x.negative) result = kPi - result;
  result.negative = y.negative;
  return result;
}

/// y * logarithm, where the logarithm is infinite, zero or y is: x > 1 and so
/// on are decided by the caller. `below` says that the logarithm is negative.
Outcome infinite_product(const X87Register& y, bool below) {
  if (classify(y) == Class::zero) return invalid();
  return signed_infinity(negative(y) != below);
}
/// The logarithm of zero. A denormal y goes unreported, as on Intel processors.
Outcome logarithm_of_zero(const X87Register& y) {
  switch (classify(y)) {
    case Class::zero:
      return invalid();
    case Class::infinity:
      return signed_infinity(!negative(y));
    default:
      return division_by_zero(!negative(y));
  }
}

/// Intel processors report the product as inexact even if the logarithm of a power
/// of two makes it exact.
Outcome product(const WideFloat& logarithm, const WideFloat& y, Exactness exactness,
                std::uint16_t control) {
  Outcome out = round_to_register(logarithm * y, exactness, control);
  const bool tiny = classify(out.value) == Class::denormal;
  out.status |= static_cast<std::uint16_t>(tiny ? kSwPrecision | kSwUnderflow : kSwPrecision);
  return out;
}

}  // namespace

Outcome f2xm1(const X87Register& x, std::uint16_t control) {
  if (const auto out = propagate(x)) return *out;
  const Class c = classify(x);
  if (c == Class::zero) return {x, 0};
  if (c == Class::infinity) {
    if (!negative(x)) return {x, 0};
    return {{kIntegerBit, kSignBit | kExponentBias}, 0};
  }
  const WideFloat value = from_register(x);
  if (value.exponent >= 0) {
    const bool minus_one = value.negative && x.significand == kIntegerBit && value.exponent == 0;
    if (minus_one) return {{kIntegerBit, kSignBit | (kExponentBias - 1)}, kSwPrecision};
    return {x, kSwPrecision};  // 2^1 - 1 is 1; beyond that the manual promises nothing
  }
  const Outcome out = rounded(exponential_minus_one(value * kLn2), control);
  return with_denormal(out, c == Class::denormal, control);
}

Outcome fyl2x(const X87Register& x, const X87Register& y, std::uint16_t control) {
  if (const auto out = propagate(x, y)) return *out;
  const bool tiny = denormal(x) || denormal(y);
  const Class c = classify(x);
  if (c == Class::zero) return logarithm_of_zero(y);
  if (negative(x)) return invalid();
  if (c == Class::infinity) return with_denormal(infinite_product(y, false), tiny, control);
  const WideFloat value = from_register(x);
  Exactness exactness = Exactness::exact;
  const WideFloat logarithm = binary_logarithm(value, exactness);
  if (classify(y) == Class::infinity) {
    if (logarithm.zero()) return invalid();
    return with_denormal(signed_infinity(negative(y) != logarithm.negative), tiny, control);
  }
  if (logarithm.zero() || classify(y) == Class::zero) {
    const bool below = !logarithm.zero() && logarithm.negative;
    return with_denormal(signed_zero(negative(y) != below), tiny, control);
  }
  return with_denormal(product(logarithm, from_register(y), exactness, control), tiny, control);
}

Outcome fyl2xp1(const X87Register& x, const X87Register& y, std::uint16_t control) {
  if (const auto out = propagate(x, y)) return *out;
  const bool tiny = denormal(x) || denormal(y);
  const Class c = classify(x);
  const bool sign = negative(x) != negative(y);
  if (c == Class::infinity) {
    if (negative(x)) return invalid();
    return with_denormal(infinite_product(y, false), tiny, control);
  }
  if (c == Class::zero) {
    if (classify(y) == Class::infinity) return invalid();
    return with_denormal(signed_zero(sign), tiny, control);
  }
  const WideFloat value = from_register(x);
  if (classify(y) == Class::infinity) return with_denormal(signed_infinity(sign), tiny, control);
  if (classify(y) == Class::zero) return with_denormal(signed_zero(sign), tiny, control);
  const bool undefined = value.negative && value.exponent >= 0;  // 1 + x is not positive
  if (undefined) return with_denormal({x, kSwPrecision}, tiny, control);
  Exactness exactness = Exactness::exact;
  const WideFloat logarithm = binary_logarithm_plus_one(value, exactness);
  return with_denormal(product(logarithm, from_register(y), exactness, control), tiny, control);
}

Outcome fpatan(const X87Register& x, const X87Register& y, std::uint16_t control) {
  if (const auto out = propagate(x, y)) return *out;
  const bool tiny = denormal(x) || denormal(y);
  const Class across = classify(x);
  const Class up = classify(y);
  WideFloat result;
  if (up == Class::zero || (across == Class::infinity && up != Class::infinity)) {
    if (!negative(x)) return with_denormal(signed_zero(negative(y)), tiny, control);
    result = kPi;
  } else if (up == Class::infinity && across == Class::infinity) {
    const WideFloat quarter{kPi.significand, -1, false};
    result = negative(x) ? kPi - quarter : quarter;
  } else if (across == Class::zero || up == Class::infinity) {
    result = kHalfPi;
  } else {
    result = angle(from_register(x), from_register(y));
  }
  result.negative = negative(y);
  return with_denormal(rounded(result, control), tiny, control);
}

Outcome fsin(const X87Register& x, std::uint16_t control) {
  if (const auto out = trigonometric_special(x, x)) return *out;
  return with_denormal(rounded(sine_of(reduce(x)), control), denormal(x), control);
}

Outcome fcos(const X87Register& x, std::uint16_t control) {
  if (const auto out = trigonometric_special(x, kRegisterOne)) return *out;
  return with_denormal(rounded(cosine_of(reduce(x)), control), denormal(x), control);
}

TwoOutcomes fsincos(const X87Register& x, std::uint16_t control) {
  if (const auto special = trigonometric_special(x, x)) {
    const bool zero = classify(x) == Class::zero;
    return {special->value, zero ? kRegisterOne : special->value, special->status};
  }
  const Reduced r = reduce(x);
  const Outcome sine = rounded(sine_of(r), control);
  const Outcome cosine = rounded(cosine_of(r), control);
  // C1 tells of the value pushed last, ST(0).
  const auto status = static_cast<std::uint16_t>((sine.status & kSwExceptions) | cosine.status);
  return {sine.value, cosine.value, with_denormal(status, denormal(x), control)};
}

TwoOutcomes fptan(const X87Register& x, std::uint16_t control) {
  if (const auto special = trigonometric_special(x, x)) {
    const bool zero = classify(x) == Class::zero;
    return {special->value, zero ? kRegisterOne : special->value, special->status};
  }
  const Reduced r = reduce(x);
  const Outcome tangent = rounded(sine_of(r) / cosine_of(r), control);
  return {tangent.value, kRegisterOne, with_denormal(tangent.status, denormal(x), control)};
}

}  // namespace chronovisor::x87
