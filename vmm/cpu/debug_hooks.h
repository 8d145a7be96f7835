// Owns the breakpoints and watchpoints that an observer outside the guest has
// set on a CPU, and what they caught. They live here, never in guest memory or
// in its debug registers, and the guest cannot notice them. One thread a
// machine.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "base/units.h"

namespace chronovisor {

struct Watchpoint {
  std::uint64_t address = 0;  ///< linear
  std::uint64_t length = 0;   ///< bytes, at least 1
  bool on_read = false;
  bool on_write = false;
  auto operator<=>(const Watchpoint&) const = default;
};

/// One access that touched a watchpoint.
struct WatchHit {
  Watchpoint watchpoint;
  std::uint64_t address = 0;  ///< first byte accessed that is watched
  bool write = false;
};

class DebugHooks {
 public:
  /// After a change of the sets, Cpu::set_debug_hooks must be called again.
  std::set<std::uint64_t> breakpoints;  ///< linear addresses
  std::vector<Watchpoint> watchpoints;
  /// A breakpoint where the observer resumed is not reported again there.
  std::uint64_t resumed_at_position = kNever;
  std::uint32_t resumed_at_deliveries = 0;
  std::uint64_t resumed_at_address = 0;
  std::vector<WatchHit> hits;  ///< of the step that has just retired

  [[nodiscard]] bool breakpoint_on_page(std::uint64_t linear_page) const {
    const auto first = breakpoints.lower_bound(linear_page);
    return first != breakpoints.end() && *first - linear_page < kPageSize;
  }
  [[nodiscard]] bool watchpoint_on_page(std::uint64_t linear_page) const {
    for (const Watchpoint& w : watchpoints) {
      if (w.address + (w.length - 1) >= linear_page && w.address <= linear_page + (kPageSize - 1)) {
        return true;
      }
    }
    return false;
  }
  /// Records an access of `size` bytes at `address`.
  /// @return whether it touched a watchpoint of its kind
  bool accessed(std::uint64_t address, std::uint64_t size, bool write) {
    bool touched = false;
    for (const Watchpoint& w : watchpoints) {
      if (!(write ? w.on_write : w.on_read)) continue;
      if (w.address <= address + (size - 1) && address <= w.address + (w.length - 1)) {
        hits.push_back({w, address > w.address ? address : w.address, write});
        touched = true;
      }
    }
    return touched;
  }
};

}  // namespace chronovisor
