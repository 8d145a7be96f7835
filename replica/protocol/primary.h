// Owns what a primary knows of one backup and decides: when it is protected by it, which
// outputs may leave, when it has to claim the session, go on without it, or stop. A primary of
// several backups has one of these for each, and does what all of them allow. A pure object:
// events come in with the time of some clock, actions go out. Knows no socket, no thread, no
// clock and no machine. One thread at a time.
//
//   alone -> greeting -> joining -> arming -> guarded -> yielding -> stopped
//     ^---------'-----------'----------'         |           |          ^
//     '---------- (claim won) -------------- claiming <------'          |
//                                                '---- (claim lost) ----'
//
// An output may leave: at once in alone, greeting and joining; from arming on once the backup
// holds the log up to a mark that comes after it; in claiming and stopped no further one.
// Arming lasts until the next mark, which comes after every output that left unprotected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "replica/protocol/message.h"
#include "replica/protocol/timing.h"

namespace chronovisor::replica {

enum class PrimaryState : std::uint8_t {
  alone,
  greeting,
  joining,
  arming,
  guarded,
  claiming,
  yielding,
  stopped,
};
[[nodiscard]] const char* primary_state_name(PrimaryState state);

namespace to_do {
struct Send {
  Message message;
};
/// Begin to send the recording so far; past_sent() says when the end was reached.
struct SendPast {};
/// Send the log up to the mark, then the mark.
struct SendMark {
  Mark mark;
};
struct DropLink {
  std::string reason;
};
/// Ask the arbiter for the session.
struct AskArbiter {
  Claim claim;
};
}  // namespace to_do

using PrimaryAction =
    std::variant<to_do::Send, to_do::SendPast, to_do::SendMark, to_do::DropLink, to_do::AskArbiter>;

class PrimaryProtocol {
 public:
  /// @param has_arbiter without one the backup never takes over, so that a primary goes on
  PrimaryProtocol(NodeId node, bool has_arbiter, std::uint32_t behaviour, const Timings& timings)
      : node_(node), has_arbiter_(has_arbiter), behaviour_(behaviour), timings_(timings) {}

  // ---- events ----------------------------------------------------------------------------
  /// A connection to somebody is there. Only in state alone.
  void link_up(const Nonce& nonce, std::uint64_t now_ns);
  /// It is gone, or has been dropped.
  void link_down(const std::string& reason, std::uint64_t now_ns);
  /// Throws Error{bad_input} for what a backup may not say here; drop the link then.
  void receive(const Message& message, std::uint64_t now_ns);
  /// The machine came to a mark; `number` and `log_bytes` are not known outside and set here.
  void marked(Mark mark);
  /// The recording as it was at `mark`, one of those that were told, has been sent.
  void past_sent(Mark mark);
  /// So many outputs have left.
  void released(std::uint64_t outputs) { released_ = outputs; }
  void verdict(const Verdict& verdict);
  void tick(std::uint64_t now_ns);
  /// The machine stands at the last mark and waits: the backup shall have the session.
  /// Only in state guarded.
  void hand_over();
  /// The run is over after the last mark.
  void over(bool guest_ended);

  // ---- what follows ----------------------------------------------------------------------
  [[nodiscard]] std::vector<PrimaryAction> take_actions() { return std::exchange(actions_, {}); }
  [[nodiscard]] PrimaryState state() const { return state_; }
  /// Outputs before this number may leave; kNever: all.
  [[nodiscard]] std::uint64_t releasable() const;
  [[nodiscard]] const Mark& last_mark() const { return last_; }
  /// What the backup said last; nothing: there is none.
  [[nodiscard]] const std::optional<Acknowledge>& backup() const { return backup_; }
  /// Why it is in its state, for people.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] const SessionId& session() const { return session_; }
  /// Stopped because the backup is live by a hand-over.
  [[nodiscard]] bool handed_over() const { return handed_over_; }

 private:
  void on(const Hello& hello);
  void on(const Acknowledge& ack);
  void on(const Diverged& diverged);
  void on(const Live& live);
  [[nodiscard]] bool linked() const;
  [[nodiscard]] bool caught_up(const Acknowledge& ack) const;
  void send(Message message) { actions_.emplace_back(to_do::Send{std::move(message)}); }
  void drop(std::string reason);
  void claim();
  void go_alone(std::string reason);
  void stop(std::string reason);

  const NodeId node_;
  const bool has_arbiter_;
  const std::uint32_t behaviour_;
  const Timings timings_;
  PrimaryState state_ = PrimaryState::alone;
  std::string reason_ = "no backup has come yet";
  std::vector<PrimaryAction> actions_;
  Nonce nonce_;
  SessionId session_;
  std::uint64_t heard_ns_ = 0;
  std::uint64_t said_ns_ = 0;
  std::uint64_t claimed_ns_ = 0;
  std::uint64_t yielded_ns_ = 0;
  std::uint64_t now_ns_ = 0;
  Mark last_;
  std::vector<Mark> unheld_;  ///< sent, not acknowledged
  Mark held_;                 ///< the last one that the backup holds
  bool past_ended_ = false;
  Mark past_end_;
  std::optional<Acknowledge> backup_;
  std::uint64_t released_ = 0;
  bool is_over_ = false;
  bool guest_ended_ = false;
  bool handed_over_ = false;
};

}  // namespace chronovisor::replica
