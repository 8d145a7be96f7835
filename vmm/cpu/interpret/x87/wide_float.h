// Owns a binary floating-point number with 128 significant bits and an
// unbounded exponent, from which the transcendental results are rounded. Has
// no infinities and no NaNs. Integer arithmetic only, so every host agrees.
// Pure; any thread.
#pragma once

#include <cstdint>

#include "vmm/cpu/interpret/x87/bits.h"

namespace chronovisor::x87 {

__extension__ using u128 = unsigned __int128;

constexpr u128 wide_bits(std::uint64_t high, std::uint64_t low) { return (u128{high} << 64) | low; }

/// (-1)^negative * significand * 2^(exponent - 127); the significand is zero or
/// has bit 127 set.
struct WideFloat {
  u128 significand = 0;
  int exponent = 0;
  bool negative = false;

  [[nodiscard]] bool zero() const { return significand == 0; }
  [[nodiscard]] WideFloat operator-() const { return {significand, exponent, !negative}; }
};

/// significand * 2^(exponent - 127), for any significand.
[[nodiscard]] WideFloat normalised(u128 significand, int exponent, bool negative = false);
[[nodiscard]] WideFloat from_integer(std::int64_t value);
/// The value of a finite register, exactly.
[[nodiscard]] WideFloat from_register(const X87Register& r);

/// Sums are truncated, but a bit that is lost still shows in the last place.
[[nodiscard]] WideFloat operator+(const WideFloat& a, const WideFloat& b);
[[nodiscard]] inline WideFloat operator-(const WideFloat& a, const WideFloat& b) { return a + -b; }
/// Products and quotients are truncated: less than one unit in the last place.
[[nodiscard]] WideFloat operator*(const WideFloat& a, const WideFloat& b);
/// `b` is not zero.
[[nodiscard]] WideFloat operator/(const WideFloat& a, const WideFloat& b);
[[nodiscard]] WideFloat divided(const WideFloat& a, std::uint32_t b);

enum class Exactness : std::uint8_t { exact, inexact };
/// Rounds to a register by the rounding control (the precision control does not
/// matter here), with all exceptions and C1. `inexact` says that the value
/// only approximates the true one, so that the result is not exact even if no
/// bit is cut off.
[[nodiscard]] Outcome round_to_register(const WideFloat& value, Exactness exactness,
                                        std::uint16_t control);

}  // namespace chronovisor::x87
