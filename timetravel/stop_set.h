// Owns the words for what can stop a run through a timeline, and for how one
// stopped. Values; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vmm/machine/machine.h"

namespace chronovisor {

/// A breakpoint, with a condition that is evaluated on the machine as it
/// stands there; empty: always. Conditions must not change the machine and may
/// be evaluated on several threads, each with a machine of its own.
struct TravelBreakpoint {
  std::uint64_t address = 0;  ///< linear
  std::function<bool(Machine&)> condition;
};
struct TravelWatchpoint {
  Watchpoint watch;
  std::function<bool(Machine&)> condition;
};

/// Writes of memory by where it lies, whoever makes them.
struct TravelPhysicalWatchpoint {
  PhysicalWatchpoint watch;
  std::function<bool(Machine&)> condition;
};

struct StopSet {
  std::vector<TravelBreakpoint> breakpoints;
  std::vector<TravelWatchpoint> watchpoints;
  std::vector<TravelPhysicalWatchpoint> physical_watchpoints{};
};

enum class TravelStop : std::uint8_t {
  arrived,  ///< where it was sent
  breakpoint,
  watchpoint,
  history_begin,
  history_end,
  interrupted,   ///< cancelled; backward searches are back where they began
  branch_ended,  ///< on a branch, the guest ended
};

struct TravelResult {
  TravelStop stop = TravelStop::arrived;
  std::uint64_t address = 0;  ///< of the breakpoint, or the first watched byte touched
  Watchpoint watchpoint;      ///< of a physical one, its physical range
  bool write = false;         ///< the watched access was a write
  std::string device{};       ///< the state section of the device that wrote; empty: the processor
  DeviceRequest request{};    ///< of that device
};

/// Something a search found: the moment to stop at, and why. For a watchpoint,
/// the moment before the access.
struct TravelHit {
  Moment moment;
  TravelResult result;
};

}  // namespace chronovisor
