// Owns a periodic timer signal that notices a step which does not come back:
// some KVMs enter the guest again and again for one that they cannot do. Knows
// no processors. One instance a process, on its main thread.
#pragma once

#include <atomic>

namespace chronovisor::crosscheck {

class Watchdog {
 public:
  Watchdog();
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  /// A step begins: it has 250 to 500 ms, where 40 us are usual.
  void step_begins();
  /// Set when the step has taken longer than that.
  [[nodiscard]] const std::atomic<bool>& tired() const;
};

}  // namespace chronovisor::crosscheck
