// Owns the units that two integers could otherwise be swapped in: addresses,
// positions and virtual time. Knows nothing of the machine. Plain values; any
// thread.
#pragma once

#include <compare>
#include <cstdint>

namespace chronovisor {

/// An address on the guest's physical bus, in bytes.
struct GuestPhysical {
  std::uint64_t value = 0;
  auto operator<=>(const GuestPhysical&) const = default;
};

/// A guest linear address (after segmentation, before paging), in bytes.
struct GuestLinear {
  std::uint64_t value = 0;
  auto operator<=>(const GuestLinear&) const = default;
};

/// A point in the run: the number of steps retired since power-on. A step is
/// one instruction, or one iteration of a REP string instruction.
struct Position {
  std::uint64_t steps = 0;
  auto operator<=>(const Position&) const = default;
};

/// Guest time in nanoseconds since power-on.
struct VirtualTime {
  std::uint64_t ns = 0;
  auto operator<=>(const VirtualTime&) const = default;
};

inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr std::uint64_t kPageMask = ~(kPageSize - 1);
inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

}  // namespace chronovisor
