#include "replica/protocol/primary.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor::replica {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::bad_input, "replication: the backup " + what);
}

}  // namespace

const char* primary_state_name(PrimaryState state) {
  static constexpr std::array kNames = {"alone",   "greeting", "joining",  "arming",
                                        "guarded", "claiming", "yielding", "stopped"};
  return kNames[static_cast<std::size_t>(state)];
}

bool PrimaryProtocol::linked() const {
  return state_ == PrimaryState::greeting || state_ == PrimaryState::joining ||
         state_ == PrimaryState::arming || state_ == PrimaryState::guarded ||
         state_ == PrimaryState::yielding;
}

std::uint64_t PrimaryProtocol::releasable() const {
  switch (state_) {
    case PrimaryState::alone:
    case PrimaryState::greeting:
    case PrimaryState::joining:
      return kNever;
    case PrimaryState::arming:
    case PrimaryState::guarded:
    case PrimaryState::claiming:
    case PrimaryState::yielding:
    case PrimaryState::stopped:
      return held_.outputs;
  }
  return 0;
}

void PrimaryProtocol::link_up(const Nonce& nonce, std::uint64_t now_ns) {
  CHECK_THAT(state_ == PrimaryState::alone, "a connection has two ends");
  now_ns_ = heard_ns_ = said_ns_ = now_ns;
  nonce_ = nonce;
  state_ = PrimaryState::greeting;
  reason_ = "a backup was found";
  send(Hello{kProtocolVersion, Role::primary, {node_, nonce_}, behaviour_});
}

void PrimaryProtocol::link_down(const std::string& reason, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (!linked()) return;
  backup_.reset();
  const bool counts = state_ == PrimaryState::guarded || state_ == PrimaryState::yielding;
  if (!counts || !has_arbiter_) {
    go_alone(reason);
    return;
  }
  state_ = PrimaryState::claiming;
  reason_ = reason;
  claim();
}

void PrimaryProtocol::claim() {
  claimed_ns_ = now_ns_;
  actions_.emplace_back(to_do::AskArbiter{{session_, node_}});
}

void PrimaryProtocol::go_alone(std::string reason) {
  state_ = PrimaryState::alone;
  reason_ = std::move(reason);
  backup_.reset();
  unheld_.clear();
  past_ended_ = false;
}

void PrimaryProtocol::stop(std::string reason) {
  state_ = PrimaryState::stopped;
  reason_ = std::move(reason);
}

void PrimaryProtocol::drop(std::string reason) {
  actions_.emplace_back(to_do::DropLink{reason});
  link_down(reason, now_ns_);
}

void PrimaryProtocol::receive(const Message& message, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (!linked()) return;
  heard_ns_ = now_ns;
  if (const auto* hello = std::get_if<Hello>(&message)) return on(*hello);
  if (state_ == PrimaryState::greeting) refuse("does not begin with a greeting");
  if (const auto* ack = std::get_if<Acknowledge>(&message)) return on(*ack);
  if (const auto* diverged = std::get_if<Diverged>(&message)) return on(*diverged);
  if (const auto* live = std::get_if<Live>(&message)) return on(*live);
  if (std::holds_alternative<Alive>(message)) return;
  refuse(std::string("says ") + message_name(message) + ", which is not for it to say");
}

void PrimaryProtocol::on(const Hello& hello) {
  if (state_ != PrimaryState::greeting) refuse("greets twice");
  if (hello.role != Role::backup) refuse("is no backup");
  if (hello.behaviour != behaviour_) {
    refuse("has machines of behaviour version " + std::to_string(hello.behaviour) +
           ", this program has " + std::to_string(behaviour_));
  }
  session_ = session_of({node_, nonce_}, hello.end);
  state_ = PrimaryState::joining;
  reason_ = "a backup joins";
  backup_ = Acknowledge{};
  held_ = {};
  past_ended_ = false;
  actions_.emplace_back(to_do::SendPast{});
}

void PrimaryProtocol::past_sent(Mark mark) {
  if (state_ != PrimaryState::joining || past_ended_) return;
  past_ended_ = true;
  const Mark newest = last_;
  mark.number = 1;
  mark.log_bytes = 0;
  last_ = past_end_ = held_ = mark;
  unheld_.clear();
  send(PastEnd{last_});
  if (newest.position != mark.position || newest.idle_ns != mark.idle_ns) marked(newest);
  if (is_over_) send(Over{guest_ended_});
}

void PrimaryProtocol::marked(Mark mark) {
  CHECK_THAT(mark.position >= last_.position && mark.outputs >= last_.outputs, "marks go forward");
  mark.number = last_.number + 1;
  last_ = mark;
  const bool sends = linked() && past_ended_;
  if (!sends) return;
  unheld_.push_back(mark);
  actions_.emplace_back(to_do::SendMark{mark});
  if (state_ != PrimaryState::arming) return;
  state_ = PrimaryState::guarded;
  reason_ = "a backup holds the log";
  send(Protect{has_arbiter_, released_});
}

bool PrimaryProtocol::caught_up(const Acknowledge& ack) const {
  return past_ended_ && ack.executed >= past_end_.number &&
         ack.position.steps + timings_.join_steps >= last_.position.steps;
}

void PrimaryProtocol::on(const Acknowledge& ack) {
  const std::uint64_t sent = past_ended_ ? last_.number : 0;
  const bool backwards =
      ack.held < backup_->held || ack.executed < backup_->executed || ack.executed > ack.held;
  if (ack.held > sent || backwards) refuse("acknowledges what was not sent");
  backup_ = ack;
  const auto after = std::find_if(unheld_.begin(), unheld_.end(),
                                  [&](const Mark& mark) { return mark.number > ack.held; });
  if (after != unheld_.begin()) held_ = *(after - 1);
  unheld_.erase(unheld_.begin(), after);
  if (state_ != PrimaryState::joining || is_over_ || !caught_up(ack)) return;
  state_ = PrimaryState::arming;
}

void PrimaryProtocol::on(const Diverged& diverged) {
  drop("the backup's machine differs: digest " + diverged.found.hex() + " at position " +
       std::to_string(diverged.position.steps) + ", recorded " + diverged.expected.hex());
}

void PrimaryProtocol::on(const Live& /*live*/) {
  if (state_ != PrimaryState::yielding) refuse("goes live unasked");
  handed_over_ = true;
  stop("the backup has taken the session over");
}

void PrimaryProtocol::verdict(const Verdict& verdict) {
  if (state_ != PrimaryState::claiming || verdict.session != session_) return;
  if (verdict.holder == node_) {
    go_alone(reason_);
  } else {
    stop("the backup has taken over (" + reason_ + ")");
  }
}

void PrimaryProtocol::tick(std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ == PrimaryState::claiming && now_ns - claimed_ns_ >= timings_.claim_ns) claim();
  if (!linked()) return;
  if (now_ns - heard_ns_ >= timings_.silence_ns) {
    drop("the backup has been silent for " + std::to_string((now_ns - heard_ns_) / 1'000'000) +
         " ms");
    return;
  }
  if (state_ == PrimaryState::yielding && now_ns - yielded_ns_ >= timings_.yield_ns) {
    drop("the backup did not go live when it was asked to");
    return;
  }
  if (state_ == PrimaryState::greeting || now_ns - said_ns_ < timings_.alive_ns) return;
  said_ns_ = now_ns;
  send(Alive{released_});
}

void PrimaryProtocol::hand_over() {
  if (state_ != PrimaryState::guarded) return;
  state_ = PrimaryState::yielding;
  yielded_ns_ = now_ns_;
  reason_ = "the session is handed over";
  send(Yield{});
}

void PrimaryProtocol::over(bool guest_ended) {
  is_over_ = true;
  guest_ended_ = guest_ended;
  // No mark comes any more to arm by.
  if (state_ == PrimaryState::arming) state_ = PrimaryState::joining;
  if (linked() && past_ended_) send(Over{guest_ended});
}

}  // namespace chronovisor::replica
