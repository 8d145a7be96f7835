// Owns the backup's side of a replication at work until its machine is live or given up: the
// thread that serves one primary, the protocol's decisions, and the file that the recording
// so far is put into. Tells the machine's thread by a ReceivedLog.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "recorder/format/file.h"
#include "replica/backup/received_log.h"
#include "replica/primary/output_gate.h"
#include "replica/protocol/backup.h"
#include "replica/transport/claim_desk.h"
#include "replica/transport/link.h"

namespace chronovisor::replica {

struct BackupSetup {
  Address address;
  PresharedKey key;
  std::unique_ptr<Arbiter> arbiter;  ///< may be null
  std::string past;                  ///< the file for the recording so far
  /// Told of each change of state, in words; from this object's thread.
  std::function<void(const std::string&)> tell;
};

struct BackupStatus {
  BackupState state = BackupState::waiting;
  std::string reason;
  std::string session;
  Mark last;
  Acknowledge acknowledged;
  std::uint64_t lag_steps = 0;
};

class BackupLink {
 public:
  /// @param listener where primaries connect; it and the others must outlive this
  BackupLink(BackupSetup setup, const Descriptor& listener, ReceivedLog& log, OutputGate& gate);
  ~BackupLink();
  BackupLink(const BackupLink&) = delete;
  BackupLink& operator=(const BackupLink&) = delete;

  // ---- the machine's thread --------------------------------------------------------------
  /// Waits until the recording so far has come. @return false when it never will, or `stop`
  [[nodiscard]] bool wait_for_past(const std::atomic<bool>& stop);
  void at(Position position) { position_ = position.steps; }
  void compared(Position position) { compared_ = position.steps; }
  /// The machine differs from the primary's: said, and given up.
  void diverged(const Diverged& diverged);

  // ---- any thread ------------------------------------------------------------------------
  [[nodiscard]] BackupStatus status() const;

 private:
  void loop();
  void wait() const;
  void accept_primary();
  void serve();
  void lose(const std::string& reason);
  void perform(std::vector<BackupAction> actions);
  void settle();

  BackupSetup setup_;
  const Descriptor& listener_;
  ReceivedLog& log_;
  OutputGate& gate_;
  ClaimDesk desk_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  BackupProtocol protocol_;     ///< needs the lock
  bool past_is_there_ = false;  ///< needs the lock
  BackupState told_ = BackupState::waiting;
  std::atomic<std::uint64_t> position_{0};
  std::atomic<std::uint64_t> compared_{0};
  std::atomic<bool> quit_{false};
  std::unique_ptr<Link> link_;
  std::unique_ptr<PosixOutputFile> past_;
  std::thread thread_;
};

}  // namespace chronovisor::replica
