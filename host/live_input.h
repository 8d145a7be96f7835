// Owns the InputSource of a live run: what is typed or piped into the serial
// port, and how idle time passes. The only place where the host's clock
// decides anything about a guest, and all it decides is recorded. The
// machine's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "vmm/machine/input.h"

namespace chronovisor {

enum class IdlePolicy : std::uint8_t { warp, wait };

class LiveInput final : public InputSource {
 public:
  /// @param fd where serial input is read from, or -1 for none
  /// @param escapes Ctrl-A commands are looked for (a terminal)
  /// @param stop set from outside or by the escape to end the run
  LiveInput(int fd, bool escapes, IdlePolicy idle, std::atomic<bool>& stop);
  ~LiveInput() override;
  LiveInput(const LiveInput&) = delete;
  LiveInput& operator=(const LiveInput&) = delete;

  /// Called every 100 ms or more often while the machine waits.
  void set_on_wait(std::function<void()> on_wait) { on_wait_ = std::move(on_wait); }
  /// `asked` is looked at as `stop` is, during idle waits.
  void stop_also_when(std::function<bool()> asked) { asked_ = std::move(asked); }

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;

 private:
  /// Reads what is there, waiting at most `timeout_ns` for something.
  void read_input(std::uint64_t timeout_ns);
  void accept(std::uint8_t byte);
  [[nodiscard]] bool anything_to_deliver() const;
  [[nodiscard]] bool must_stop() const { return stop_ || (asked_ && asked_()); }

  int fd_;
  bool escapes_;
  IdlePolicy idle_;
  std::atomic<bool>& stop_;
  std::function<void()> on_wait_;
  std::function<bool()> asked_;
  int saved_flags_ = 0;
  std::deque<std::uint8_t> pending_;
  bool escape_seen_ = false;
  bool room_ = true;     ///< the receiver had room when last asked
  bool closed_ = false;  ///< end of input was read
  bool closed_delivered_ = false;
  Position next_poll_;
  Position next_byte_;  ///< bytes follow each other at line speed
};

}  // namespace chronovisor
