// Owns what a backup knows of its primary and decides: what of the log may be executed, when
// the session may be claimed, and when to go live. A pure object, as PrimaryProtocol is.
// Knows no socket, no thread, no clock and no machine. One thread at a time.
//
//   waiting -> greeting -> joining -> following -> guarding -> claiming -> live
//                  |          |           |           |  |         |
//                  '----------'-----------'-----------|--'         '--> given up
//                             (connection lost)       '-> over
//
// A claim has two steps: the session, which the primary claims where it goes on without this
// backup, then the succession, which the primary's other backups claim.
//
// Only in guarding does the loss of the connection, or the primary's yielding, lead to a
// claim: before that the primary lets outputs leave which this backup knows nothing of.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "replica/protocol/message.h"
#include "replica/protocol/primary.h"
#include "replica/protocol/timing.h"

namespace chronovisor::replica {

enum class BackupState : std::uint8_t {
  waiting,
  greeting,
  joining,
  following,
  guarding,
  claiming,
  live,
  over,      ///< the run ended; the machine runs to its end
  given_up,  ///< it can never go live; see reason()
};
[[nodiscard]] const char* backup_state_name(BackupState state);

namespace to_do {
/// The next bytes of the primary's recording.
struct TakePast {
  Bytes bytes;
};
/// All of it has come; the machine may be made and run to the mark.
struct BeginMachine {
  Mark mark;
};
/// The next bytes of the log.
struct TakeLog {
  Bytes bytes;
};
struct RunTo {
  Mark mark;
};
/// Outputs before this number have left.
struct ForgetOutputs {
  std::uint64_t before = 0;
};
/// The session is ours: run to the last mark and go live there.
struct GoLive {};
/// Run to the last mark, or where the guest ends by itself.
struct RunOut {
  bool guest_ended = false;
};
}  // namespace to_do

using BackupAction = std::variant<to_do::Send, to_do::TakePast, to_do::BeginMachine, to_do::TakeLog,
                                  to_do::RunTo, to_do::ForgetOutputs, to_do::GoLive, to_do::RunOut,
                                  to_do::DropLink, to_do::AskArbiter>;

class BackupProtocol {
 public:
  /// @param has_arbiter without one it never goes live
  BackupProtocol(NodeId node, bool has_arbiter, std::uint32_t behaviour, const Timings& timings)
      : node_(node), has_arbiter_(has_arbiter), behaviour_(behaviour), timings_(timings) {}

  // ---- events ----------------------------------------------------------------------------
  /// Somebody has connected. Only in state waiting.
  void link_up(const Nonce& nonce, std::uint64_t now_ns);
  void link_down(const std::string& reason, std::uint64_t now_ns);
  /// Throws Error{bad_input} for what a primary may not say here; drop the link then.
  void receive(const Message& message, std::uint64_t now_ns);
  /// The machine came to mark `number`, and is at `position`.
  void executed(std::uint64_t number, Position position, Position compared);
  /// The machine is not what the primary's was; it may never go live.
  void diverged(const Diverged& diverged);
  void verdict(const Verdict& verdict);
  void tick(std::uint64_t now_ns);

  // ---- what follows ----------------------------------------------------------------------
  [[nodiscard]] std::vector<BackupAction> take_actions() { return std::exchange(actions_, {}); }
  [[nodiscard]] BackupState state() const { return state_; }
  [[nodiscard]] const Mark& last_mark() const { return last_; }
  [[nodiscard]] const Acknowledge& acknowledged() const { return ack_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] const SessionId& session() const { return session_; }

 private:
  void on(const Hello& hello);
  void on(const Past& past);
  void on(const PastEnd& end);
  void on(const Log& log);
  void on(const Marked& marked);
  void on(const Protect& protect);
  void on(const Yield& yield);
  void on(const Over& over);
  [[nodiscard]] bool linked() const;
  [[nodiscard]] bool follows() const;
  void forget(std::uint64_t released);
  void send(Message message) { actions_.emplace_back(to_do::Send{std::move(message)}); }
  void acknowledge() { send(ack_); }
  [[nodiscard]] const SessionId& wanted() const { return has_session_ ? succession_ : session_; }
  void claim();
  void give_up(std::string reason);

  const NodeId node_;
  const bool has_arbiter_;
  const std::uint32_t behaviour_;
  const Timings timings_;
  BackupState state_ = BackupState::waiting;
  std::string reason_ = "no primary has come yet";
  std::vector<BackupAction> actions_;
  Nonce nonce_;
  SessionId session_;
  SessionId succession_;
  bool has_session_ = false;
  std::uint64_t now_ns_ = 0;
  std::uint64_t heard_ns_ = 0;
  std::uint64_t said_ns_ = 0;
  std::uint64_t claim_at_ns_ = 0;
  Mark last_;
  std::uint64_t log_bytes_ = 0;
  Acknowledge ack_;
  std::uint64_t released_ = 0;
  bool primary_has_arbiter_ = false;
  bool yielded_ = false;
};

}  // namespace chronovisor::replica
