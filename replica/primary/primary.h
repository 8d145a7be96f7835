// Owns the primary's side of a replication at work: the thread that keeps a backup, the
// protocol's decisions, and the gate that they open and close. The machine's thread tells it
// of marks and asks what to do; status may be asked for from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "replica/primary/log_tail.h"
#include "replica/primary/output_gate.h"
#include "replica/protocol/primary.h"
#include "replica/transport/claim_desk.h"
#include "replica/transport/link.h"

namespace chronovisor::replica {

/// A new one for this start of the program, and for a connection.
[[nodiscard]] NodeId random_node();
[[nodiscard]] Nonce random_nonce();

struct PrimarySetup {
  std::vector<Address> backups;  ///< tried in turn
  PresharedKey key;
  std::unique_ptr<Arbiter> arbiter;  ///< may be null
  std::string recording;             ///< the path of the file that grows
  /// Told of each change of state, in words; from any thread, and not to call this object.
  std::function<void(const std::string&)> tell;
};

struct PrimaryStatus {
  PrimaryState state = PrimaryState::alone;
  std::string reason;
  std::string session;
  Position position;  ///< of the last mark
  std::uint64_t marks = 0;
  std::optional<Acknowledge> backup;
  std::uint64_t lag_steps = 0;
  std::uint64_t lag_bytes = 0;   ///< recorded, not sent yet
  std::uint64_t sent_bytes = 0;  ///< over all connections
  OutputCounts outputs;
  std::uint64_t slowed_ns = 0;  ///< how long the machine has waited for a slow backup
};

class Primary {
 public:
  /// The gate must outlive this.
  Primary(PrimarySetup setup, OutputGate& gate);
  ~Primary();
  Primary(const Primary&) = delete;
  Primary& operator=(const Primary&) = delete;

  // ---- the machine's thread --------------------------------------------------------------
  /// The machine came to a stamp; everything that led to it is in the file, which has
  /// `file_bytes`.
  void mark(Position position, std::uint64_t idle_ns, std::uint64_t file_bytes);
  /// The session is somebody else's: the machine must not run on.
  [[nodiscard]] bool must_stop() const { return stopped_; }
  /// A hand-over was asked for: stop here, mark, and yield().
  [[nodiscard]] bool wants_yield() const { return wants_yield_; }
  /// Waits until the hand-over has succeeded or failed. @return whether it has succeeded
  bool yield();
  /// How far a backup is behind the last mark; 0 without one.
  [[nodiscard]] std::uint64_t lag_steps() const { return lag_steps_; }
  void slowed(std::uint64_t ns) { slowed_ns_ += ns; }
  /// The run is over after the last mark. Waits, a while at most, until all outputs have left.
  void over(bool guest_ended);

  // ---- any thread ------------------------------------------------------------------------
  /// Asks for a hand-over and waits for its end. @return what came of it, for people; empty:
  /// the backup is live
  [[nodiscard]] std::string hand_over();
  [[nodiscard]] PrimaryStatus status() const;

 private:
  [[nodiscard]] bool all_is_out() const;
  void hand_over_ended(const std::string& result);
  void loop();
  void look_for_backup();
  void wait() const;
  void serve();
  void lose(const std::string& reason);
  void perform(const std::vector<PrimaryAction>& actions);
  void pump_past();
  void pump_marks();
  void send_log(const Mark& mark);
  /// After whatever may have changed the protocol's state; needs the lock.
  void settle();
  void wake() const;

  PrimarySetup setup_;
  OutputGate& gate_;
  ClaimDesk desk_;
  Descriptor event_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  PrimaryProtocol protocol_;           ///< needs the lock
  std::uint64_t marked_bytes_ = 0;     ///< of the file, at the last mark; needs the lock
  std::deque<Mark> marks_to_send_;     ///< log_bytes: the file's; needs the lock
  PrimaryState told_ = PrimaryState::alone;  ///< what was told last, and why
  std::string told_reason_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> wants_yield_{false};
  std::atomic<bool> quit_{false};
  std::atomic<std::uint64_t> lag_steps_{0};
  std::atomic<std::uint64_t> slowed_ns_{0};
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::atomic<std::uint64_t> sent_to_{0};  ///< of the file
  bool hand_over_pending_ = false;         ///< needs the lock
  std::string hand_over_result_;           ///< needs the lock
  std::atomic<bool> over_sent_{false};
  // The thread's own.
  std::unique_ptr<LogTail> tail_;
  std::unique_ptr<Link> link_;
  std::size_t next_backup_ = 0;
  std::uint64_t next_try_ns_ = 0;
  bool past_goes_ = false;
  bool over_queued_ = false;
  std::uint64_t log_bytes_ = 0;
  std::thread thread_;
};

}  // namespace chronovisor::replica
