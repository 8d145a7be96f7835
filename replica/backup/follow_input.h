// Owns the input source of a backup's machine: the primary's log, waited for at its end, and
// from the moment it goes live whatever is outside. The machine cannot tell. The machine's
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "replica/backup/received_log.h"
#include "vmm/machine/input.h"

namespace chronovisor::replica {

class FollowInput final : public InputSource {
 public:
  struct Calls {
    /// The machine has come to the end of the log and is live from here on.
    /// @return where inputs come from
    std::function<InputSource&()> go_live;
    /// The first mark was reached, before which so many outputs had been made.
    std::function<void(std::uint64_t outputs)> joined;
    /// At least every 20 ms while the machine waits for the log.
    std::function<void()> waiting;
    /// The machine was asked for inputs here: where it is.
    std::function<void(Position)> here;
  };
  /// @param stop set when the machine is to stop; set by others, it makes it stop
  FollowInput(ReceivedLog& log, Calls calls, std::atomic<bool>& stop)
      : log_(log), calls_(std::move(calls)), stop_(stop) {}

  [[nodiscard]] bool is_live() const { return live_ != nullptr; }

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;

 private:
  /// Looks, and waits at the end of the log. At its end for good `then` says what follows.
  [[nodiscard]] ReceivedLog::Look look(InputStamp here, bool of_wakeup);

  ReceivedLog& log_;
  Calls calls_;
  std::atomic<bool>& stop_;
  InputSource* live_ = nullptr;
};

}  // namespace chronovisor::replica
