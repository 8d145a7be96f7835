// Owns the exact conversion between virtual nanoseconds and the ticks of a
// device's own clock. A clock is a ratio of integers, its ticks lie on one grid
// that starts at power-on, and nothing is ever accumulated, so nothing drifts.
// Values; any thread.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace chronovisor {

__extension__ typedef unsigned __int128 uint128;

/// A clock of `ticks` ticks in every `ns` nanoseconds.
struct TickRate {
  std::uint64_t ticks;
  std::uint64_t ns;

  /// How many ticks have happened by `now_ns`.
  [[nodiscard]] constexpr std::uint64_t ticks_at(std::uint64_t now_ns) const {
    return static_cast<std::uint64_t>(uint128{now_ns} * ticks / ns);
  }
  /// The first nanosecond at which `tick` ticks have happened; kNever when that
  /// is beyond the end of virtual time.
  [[nodiscard]] constexpr std::uint64_t first_ns_of(std::uint64_t tick) const {
    if (tick == kNever) return kNever;
    const uint128 at = (uint128{tick} * ns + (ticks - 1)) / ticks;
    return at >= kNever ? kNever : static_cast<std::uint64_t>(at);
  }
};

/// The PC's one crystal, 14.31818 MHz, divided by 12 (8254) and by 4 (ACPI PM timer).
inline constexpr TickRate kPitRate{14'318'180, 12'000'000'000};
inline constexpr TickRate kPmTimerRate{14'318'180, 4'000'000'000};

/// Adds durations; stays at kNever instead of wrapping.
[[nodiscard]] constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a > kNever - b ? kNever : a + b;
}

}  // namespace chronovisor
