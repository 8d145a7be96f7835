// Owns the InputSource of a live run: what is typed or piped into the serial port,
// what other sources push, and how idle time passes. The only place where the
// host's clock decides anything about a guest, and all it decides is recorded. The
// machine's thread; sources push from theirs.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "host/inbox.h"
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

  /// Where other sources put what they have. A guest that waits is woken by any of
  /// them, and waits as long as one of them may push.
  [[nodiscard]] Inbox& inbox() { return inbox_; }

  /// Called every 100 ms or more often while the machine waits.
  void set_on_wait(std::function<void()> on_wait) { on_wait_ = std::move(on_wait); }
  /// `asked` is looked at as `stop` is, during idle waits.
  void stop_also_when(std::function<bool()> asked) { asked_ = std::move(asked); }

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;

 private:
  /// What waits for one device, in order.
  struct Lane {
    std::deque<Input> waiting;
    bool room = true;              ///< the receiver had room when last asked
    Position next;                 ///< bytes follow each other at line speed, keys at a typist's
    Position asked_again{kNever};  ///< for room, while idle
  };
  using LaneKey = std::pair<InputKind, std::uint16_t>;

  /// Takes in what has come, waiting at most `timeout_ns` for something.
  void look(std::uint64_t timeout_ns);
  void read_serial();
  void accept(std::uint8_t byte);
  void queue(Input input);
  [[nodiscard]] bool may_read_serial();
  [[nodiscard]] bool anything_to_deliver() const;
  [[nodiscard]] std::uint64_t arrival_ns() const;
  [[nodiscard]] std::uint64_t poll_steps(Position here) const;
  void ask_for_room_again(Position here);
  void deliver_now(Position here);
  [[nodiscard]] bool must_stop() const { return stop_ || (asked_ && asked_()); }

  int fd_;
  bool escapes_;
  IdlePolicy idle_;
  std::atomic<bool>& stop_;
  std::function<void()> on_wait_;
  std::function<bool()> asked_;
  Inbox inbox_;
  std::map<LaneKey, Lane> lanes_;
  int saved_flags_ = 0;
  bool escape_seen_ = false;
  bool closed_;  ///< end of the serial input was read
  Position next_poll_;
  Position last_frame_;  ///< where the guest took one
};

}  // namespace chronovisor
