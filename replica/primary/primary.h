// Owns the primary's side of a replication at work: its backups, the gate that all of them
// open and close together, and what becomes of the machine. The machine's thread tells it of
// marks and asks what to do; status may be asked for from any thread.
//
// An output leaves when every backup that protects holds its log. One that is lost is waited
// for until its session is claimed, so that it can never go on; then no more.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "replica/primary/backup_peer.h"

namespace chronovisor::replica {

struct PrimarySetup {
  std::vector<Address> backups;
  PresharedKey key;
  std::shared_ptr<Arbiter> arbiter;  ///< may be null
  std::string recording;             ///< the path of the file that grows
  /// Told of each change of state, in words; from any thread, and not to call this object.
  std::function<void(const std::string&)> tell;
};

struct PrimaryStatus {
  PrimaryState state = PrimaryState::alone;  ///< of the backup that decides most
  std::string reason;
  Position position;  ///< of the last mark
  std::uint64_t marks = 0;
  std::uint64_t lag_steps = 0;  ///< of the slowest backup, as all three
  std::uint64_t lag_bytes = 0;
  std::uint64_t sent_bytes = 0;  ///< to all of them
  OutputCounts outputs;
  std::uint64_t cpu_ns = 0;           ///< processor time of marks and of the backups' threads
  std::uint64_t slowed_ns = 0;        ///< how long the machine has waited for a slow backup
  std::uint64_t longest_stop_ns = 0;  ///< that a mark took it, whatever the backups did
  std::vector<PeerStatus> backups;
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
  /// The recording goes on in another file at its path: the one so far has ended at the
  /// stamp with `ended_bytes`. Throws Error{bad_input}.
  void segment_begun(Position position, std::uint64_t idle_ns, std::uint64_t ended_bytes);
  /// A session is somebody else's: the machine must not run on.
  [[nodiscard]] bool must_stop() const { return stopped_; }
  /// A hand-over was asked for: stop here, mark, and yield().
  [[nodiscard]] bool wants_yield() const { return wants_yield_; }
  /// Waits until the hand-over has succeeded or failed. @return whether it has succeeded
  bool yield();
  /// How far the slowest backup is behind the last mark; 0 without one.
  [[nodiscard]] std::uint64_t lag_steps() const { return lag_steps_; }
  void slowed(std::uint64_t ns) { slowed_ns_ += ns; }
  /// The machine's thread has used so much processor time for a mark.
  void used(std::uint64_t cpu_ns) { mark_cpu_ns_ += cpu_ns; }
  /// The run is over after the last mark. Waits, a while at most, until all outputs have left.
  void over(bool guest_ended);

  // ---- any thread ------------------------------------------------------------------------
  /// Asks for a hand-over and waits for its end. @return what came of it, for people; empty:
  /// the backup is live
  [[nodiscard]] std::string hand_over();
  [[nodiscard]] PrimaryStatus status() const;

 private:
  struct Told {
    PrimaryState state = PrimaryState::alone;
    std::string reason;
  };
  [[nodiscard]] const BackupPeer* deciding() const;
  [[nodiscard]] BackupPeer* nearest() const;
  [[nodiscard]] std::string why() const;
  void mark_locked(Position position, std::uint64_t idle_ns, std::uint64_t log_bytes);
  void hand_over_ended(const std::string& result);
  void settle();
  void tell();
  void wake() const;

  PrimarySetup setup_;
  mutable BackupPeer::Sharing sharing_;
  Mark last_;               ///< needs the lock
  std::vector<Told> told_;  ///< of each backup; needs the lock
  std::atomic<bool> stopped_{false};
  std::atomic<bool> wants_yield_{false};
  std::atomic<std::uint64_t> lag_steps_{0};
  std::atomic<std::uint64_t> slowed_ns_{0};
  std::atomic<std::uint64_t> mark_cpu_ns_{0};
  std::atomic<std::uint64_t> longest_stop_ns_{0};  ///< changed by the machine's thread
  bool hand_over_pending_ = false;                 ///< needs the lock
  std::string hand_over_result_;                   ///< needs the lock
  std::vector<std::unique_ptr<BackupPeer>> peers_;
};

}  // namespace chronovisor::replica
