// Owns one backup of a primary at work: the thread that looks for it, keeps the connection and
// performs what the protocol decides. What all backups of a primary share is Sharing; what they
// decide together is Primary's.
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

struct PeerStatus {
  std::string address;
  PrimaryState state = PrimaryState::alone;
  std::string reason;
  std::string session;
  std::optional<Acknowledge> said;
  std::uint64_t lag_steps = 0;
  std::uint64_t lag_bytes = 0;   ///< recorded, not sent yet
  std::uint64_t sent_bytes = 0;  ///< over all connections
  std::uint64_t cpu_ns = 0;      ///< processor time of its thread
};

class BackupPeer {
 public:
  struct Sharing {
    explicit Sharing(OutputGate& output_gate) : gate(output_gate) {}
    std::mutex mutex;
    std::condition_variable changed;
    OutputGate& gate;
    std::shared_ptr<LogSegment> segment;  ///< the present one; needs the lock
    std::uint64_t marked_bytes = 0;       ///< of the log, at the last mark; needs the lock
    /// After whatever may have changed a protocol's state; called with the lock held.
    std::function<void()> settle;
  };
  struct Setup {
    Address address;
    PresharedKey key;
    std::shared_ptr<Arbiter> arbiter;  ///< may be null
    NodeId node;                       ///< the primary
  };

  /// `sharing` must outlive this.
  BackupPeer(Setup setup, Sharing& sharing);
  ~BackupPeer() { stop(); }
  BackupPeer(const BackupPeer&) = delete;
  BackupPeer& operator=(const BackupPeer&) = delete;

  // ---- with the lock held ----------------------------------------------------------------
  [[nodiscard]] PrimaryProtocol& protocol() { return protocol_; }
  [[nodiscard]] const PrimaryProtocol& protocol() const { return protocol_; }
  /// How far its machine is behind the last mark; 0 while it does not run.
  [[nodiscard]] std::uint64_t lag_steps() const;
  [[nodiscard]] PeerStatus status() const;
  /// Whether nothing is left to wait for at the end of a run.
  [[nodiscard]] bool knows_the_end() const;

  // ---- any thread ------------------------------------------------------------------------
  void wake() const;
  /// Sends what was marked at once where the thread only waits, which saves waking it;
  /// wakes it otherwise.
  void send_marked();
  /// Ends its thread; from the one that made it.
  void stop();

 private:
  void loop();
  void look_for_backup();
  void wait(std::unique_lock<std::mutex>& working);
  void serve();
  void pump();
  void lose(const std::string& reason);
  void perform(const std::vector<PrimaryAction>& actions);
  void pump_past();
  void pump_marks();
  void send_log(const Mark& mark);

  Setup setup_;
  Sharing& sharing_;
  ClaimDesk desk_;
  Descriptor event_;
  PrimaryProtocol protocol_;        ///< needs the lock
  std::deque<Mark> marks_to_send_;  ///< log_bytes: of all segments; needs the lock
  std::atomic<bool> quit_{false};
  std::atomic<bool> over_sent_{false};
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::atomic<std::uint64_t> cpu_ns_{0};
  std::atomic<std::uint64_t> sent_to_{0};  ///< of the log
  /// Held by whoever works on what follows: the thread, except while it waits. Taken before
  /// the shared lock.
  std::mutex working_;
  std::unique_ptr<Link> link_;
  std::string failure_;  ///< of send_marked(); empty: none
  std::uint64_t next_try_ns_ = 0;
  std::optional<LogPosition> from_;
  bool past_goes_ = false;
  bool over_queued_ = false;
  std::uint64_t log_bytes_ = 0;
  std::thread thread_;
};

}  // namespace chronovisor::replica
