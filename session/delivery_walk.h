// Owns the walk from one delivered interrupt or exception to the next, by the handlers that
// the guest's interrupt tables name, and past where system calls enter its kernel. Knows no
// protocol. The thread that owns the timeline, which stands where the walk has come to.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "session/interrupt_stepping.h"
#include "timetravel/stop_set.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

/// A system call, as whoever calls numbers it.
struct SystemCall {
  std::uint32_t number = 0;
  bool narrow = false;  ///< by the numbers of 32-bit programs
  auto operator<=>(const SystemCall&) const = default;
};

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

  /// Learns where SYSCALL, SYSENTER and INT 80H lead where the machine stands: next() stops
  /// there as well from then on.
  void learn_call_entries();
  /// The system call that has brought the machine to where it stands; nothing where it is a
  /// delivery that did.
  [[nodiscard]] std::optional<SystemCall> system_call() const;

  /// Runs on to the first instruction of the next handler, and gives its address; nothing:
  /// to `to`, without one. Nothing also when cancelled.
  [[nodiscard]] std::optional<std::uint64_t> next(Position to, CancelToken cancel);

 private:
  Timeline& timeline_;
  struct CallEntry {
    std::uint64_t address = 0;
    bool narrow = false;
  };
  void add_call_entry(const CallEntry& entry);

  std::vector<InterruptGate> gates_;
  std::vector<CallEntry> call_entries_;
  StopSet stops_;
};

}  // namespace chronovisor::session
