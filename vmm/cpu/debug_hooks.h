// Owns the breakpoints and watchpoints that an observer outside the guest has
// set on a CPU, and what they caught. They live here, never in guest memory or
// in its debug registers, and the guest cannot notice them. One thread a
// machine.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
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

/// What a device was asked to do when it wrote.
struct DeviceRequest {
  std::string text{};  ///< "READ DMA, LBA 2048, 8 sectors, into 0x1f000"; empty: not known
  std::uint64_t started_steps = kNever;  ///< position of the access that began it
};

/// One access that touched a watchpoint.
struct WatchHit {
  Watchpoint watchpoint;
  std::uint64_t address = 0;  ///< first byte accessed that is watched
  bool write = false;
  std::string device{};     ///< the state section of the device that wrote; empty: the processor
  DeviceRequest request{};  ///< of that device
};

/// Memory watched by where it lies, however it is mapped, a device's memory included. It
/// stops at writes of devices and of instructions; a page walk that sets A or D bits is
/// neither.
struct PhysicalWatchpoint {
  GuestPhysical address;
  std::uint64_t length = 0;  ///< bytes, at least 1
  auto operator<=>(const PhysicalWatchpoint&) const = default;
};

/// One write that touched a physical watchpoint.
struct PhysicalWatchHit {
  PhysicalWatchpoint watchpoint;
  GuestPhysical address;  ///< first byte written that is watched
  std::string device;     ///< as in WatchHit
  DeviceRequest request{};
};

class DebugHooks {
 public:
  /// After a change of the sets, Cpu::set_debug_hooks must be called again.
  std::set<std::uint64_t> breakpoints;  ///< linear addresses
  std::vector<Watchpoint> watchpoints;
  std::vector<PhysicalWatchpoint> physical_watchpoints;
  /// A breakpoint where the observer resumed is not reported again there.
  std::uint64_t resumed_at_position = kNever;
  std::uint32_t resumed_at_deliveries = 0;
  std::uint64_t resumed_at_address = 0;
  /// Of the step that has just retired, or of a device that wrote by itself.
  std::vector<WatchHit> hits;
  std::vector<PhysicalWatchHit> physical_hits;

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
  [[nodiscard]] bool physical_watchpoint_on_page(GuestPhysical page) const {
    for (const PhysicalWatchpoint& w : physical_watchpoints) {
      if (w.address.value + (w.length - 1) >= page.value &&
          w.address.value <= page.value + (kPageSize - 1)) {
        return true;
      }
    }
    return false;
  }
  /// Records a write of `size` bytes of memory at `address`, by `device` or
  /// (empty) the processor.
  /// @return whether it touched a physical watchpoint
  bool wrote_physical(std::string_view device, GuestPhysical address, std::uint64_t size) {
    bool touched = false;
    for (const PhysicalWatchpoint& w : physical_watchpoints) {
      if (w.address.value <= address.value + (size - 1) &&
          address.value <= w.address.value + (w.length - 1)) {
        physical_hits.push_back(
            {w, address > w.address ? address : w.address, std::string(device), {}});
        touched = true;
      }
    }
    return touched;
  }
};

}  // namespace chronovisor
