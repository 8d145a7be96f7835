// Owns the walk from one delivered interrupt or exception to the next, by the handlers that
// the guest's interrupt tables name. Knows no protocol. The thread that owns the timeline,
// which stands where the walk has come to.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "session/interrupt_stepping.h"
#include "timetravel/stop_set.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

class DeliveryWalk {
 public:
  /// The timeline must outlive this.
  explicit DeliveryWalk(Timeline& timeline) : timeline_(timeline) {}

  /// Learns the handlers of the guest's table as it is where the machine stands: a guest may
  /// set its table up anywhere.
  void learn_gates();
  /// All that were learned.
  [[nodiscard]] const std::vector<InterruptGate>& gates() const { return gates_; }
  /// The vectors that lead to this handler.
  [[nodiscard]] std::vector<std::uint8_t> vectors_of(std::uint64_t handler) const;

  /// Runs on to the first instruction of the next handler, and gives its address; nothing:
  /// to `to`, without one. Nothing also when cancelled.
  [[nodiscard]] std::optional<std::uint64_t> next(Position to, CancelToken cancel);

 private:
  Timeline& timeline_;
  std::vector<InterruptGate> gates_;
  StopSet stops_;
};

}  // namespace chronovisor::session
