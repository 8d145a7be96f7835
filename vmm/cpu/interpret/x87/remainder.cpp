#include <bit>

#include "vmm/cpu/interpret/x87/arithmetic.h"

// FPREM and FPREM1 in integers: how much one partial reduction takes away is
// the host's affair, so the host is not asked.
// Source: SDM vol. 2A, "FPREM" and "FPREM1".

namespace chronovisor::x87 {
namespace {

__extension__ using u128 = unsigned __int128;

/// A finite, non-zero magnitude: significand * 2^(exponent - 63), normalised.
struct Magnitude {
  std::uint64_t significand;
  int exponent;
};

Magnitude magnitude_of(const X87Register& r) {
  const int e = exponent(r) == 0 ? 1 : static_cast<int>(exponent(r));
  const int shift = std::countl_zero(r.significand);
  return {r.significand << shift, e - kExponentBias - shift};
}

/// Quotient bits by long division: a * 2^steps = quotient * b + rest.
/// `steps` is below 64; the quotient is kept modulo 2^64.
struct Division {
  std::uint64_t quotient;
  std::uint64_t rest;
};
Division divide(std::uint64_t a, std::uint64_t b, int steps) {
  std::uint64_t quotient = 0;
  u128 rest = a;
  for (int k = 0;; ++k) {
    quotient <<= 1;
    if (rest >= b) {
      rest -= b;
      quotient |= 1;
    }
    if (k == steps) return {quotient, static_cast<std::uint64_t>(rest)};
    rest <<= 1;
  }
}

/// The exact value significand * 2^(scale - 63) as a register. A denormal
/// result is exact, so it underflows only when that is unmasked.
Outcome pack(std::uint64_t significand, int scale, bool sign, std::uint16_t control) {
  const std::uint16_t sign_bit = sign ? kSignBit : 0;
  if (significand == 0) return {{0, sign_bit}, 0};
  const int shift = std::countl_zero(significand);
  significand <<= shift;
  int biased = scale - shift + kExponentBias;
  std::uint16_t status = 0;
  if (biased <= 0) {
    if ((control & kSwUnderflow) == 0) {
      constexpr int kUnmaskedScale = 24576;
      biased += kUnmaskedScale;
      status = kSwUnderflow;
    } else {
      significand >>= 1 - biased;
      biased = 0;
    }
  }
  return {{significand, static_cast<std::uint16_t>(sign_bit | biased)}, status};
}

std::uint16_t quotient_conditions(std::uint64_t quotient) {
  return static_cast<std::uint16_t>(((quotient & 4) != 0 ? kSwC0 : 0U) |
                                    ((quotient & 2) != 0 ? kSwC3 : 0U) |
                                    ((quotient & 1) != 0 ? kSwC1 : 0U));
}

Outcome reduce(Remainder kind, const X87Register& a, const X87Register& b, std::uint16_t control) {
  const Magnitude x = magnitude_of(a);
  const Magnitude y = magnitude_of(b);
  const int difference = x.exponent - y.exponent;
  bool sign = negative(a);
  if (difference >= 64) {
    const int steps = 32 + (difference & 31);
    const Division d = divide(x.significand, y.significand, steps);
    Outcome out = pack(d.rest, y.exponent + difference - steps, sign, control);
    out.status |= kSwC2;
    return out;
  }
  // |a| < |b| / 2 cannot change; the sum below could not hold it either.
  if (difference < -1 || (difference < 0 && kind == Remainder::truncating)) {
    return pack(x.significand, x.exponent, sign, control);
  }
  std::uint64_t quotient = 0;
  u128 rest = 0;
  u128 divisor = y.significand;
  int unit = y.exponent;
  if (difference >= 0) {
    const Division d = divide(x.significand, y.significand, difference);
    quotient = d.quotient;
    rest = d.rest;
  } else {
    rest = x.significand;
    divisor <<= 1;
    unit = x.exponent;
  }
  if (kind == Remainder::nearest) {
    const u128 twice = rest << 1;
    if (twice > divisor || (twice == divisor && (quotient & 1) != 0)) {
      rest = divisor - rest;
      sign = !sign;
      ++quotient;
    }
  }
  // The rest is at most |b| / 2 or below |b|: it fits in 64 bits again.
  Outcome out =
      pack(static_cast<std::uint64_t>(rest), unit, rest == 0 ? negative(a) : sign, control);
  out.status |= quotient_conditions(quotient);
  return out;
}

}  // namespace

Outcome remainder(Remainder kind, const X87Register& a, const X87Register& b,
                  std::uint16_t control) {
  const Class x = classify(a);
  const Class y = classify(b);
  if (x == Class::nan || y == Class::nan || x == Class::unsupported || y == Class::unsupported) {
    // One rule for all NaNs.
    Outcome out = binary(Binary::add, a, b, static_cast<std::uint16_t>(control | kCwMasks));
    out.status &= kSwExceptions;
    return out;
  }
  if (x == Class::infinity || y == Class::zero) return {kIndefinite, kSwInvalid};
  const std::uint16_t denormal =
      x == Class::denormal || y == Class::denormal ? kSwDenormal : std::uint16_t{0};
  if ((denormal & ~control) != 0) return {a, denormal};
  if (x == Class::zero || y == Class::infinity) {
    if (x != Class::denormal) return {a, denormal};
    // |b| is infinite: a stays, which is no underflow even if that is unmasked.
    Outcome out = pack(a.significand, 1 - kExponentBias, negative(a), kSwUnderflow);
    out.status |= denormal;
    return out;
  }
  Outcome out = reduce(kind, a, b, control);
  out.status |= denormal;
  return out;
}

}  // namespace chronovisor::x87
