#include "replica/backup/follow_input.h"

#include "base/error.h"

namespace chronovisor::replica {
namespace {

constexpr std::chrono::milliseconds kMostWait{20};

}  // namespace

Position FollowInput::next_look(Position now) {
  return live_ != nullptr ? live_->next_look(now) : log_.next_look(now);
}

ReceivedLog::Look FollowInput::look(InputStamp here, bool of_wakeup) {
  using Then = ReceivedLog::Then;
  calls_.here(here.position);
  while (true) {
    ReceivedLog::Look look = log_.look(here, of_wakeup);
    if (const auto outputs = log_.take_first_outputs()) calls_.joined(*outputs);
    if (look.kind != ReceivedLog::Look::Kind::end) return look;
    if (look.then == Then::live) live_ = &calls_.go_live();
    if (look.then != Then::wait) return look;
    if (stop_) {
      look.then = Then::stop;
      return look;
    }
    log_.wait(look, kMostWait);
    calls_.waiting();
  }
}

std::optional<Input> FollowInput::take(InputStamp here, const InputRoom& room) {
  if (live_ != nullptr) return live_->take(here, room);
  ReceivedLog::Look found = look(here, false);
  if (live_ != nullptr) return live_->take(here, room);
  switch (found.kind) {
    case ReceivedLog::Look::Kind::input:
      return Input{found.event.kind, found.event.device, std::move(found.event.payload)};
    case ReceivedLog::Look::Kind::nothing:
      return std::nullopt;
    case ReceivedLog::Look::Kind::end:
      if (found.then != ReceivedLog::Then::run_on) stop_ = true;
      return std::nullopt;
  }
  return std::nullopt;
}

IdleOutcome FollowInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (live_ != nullptr) return live_->idle(here, deadline_idle_ns);
  const ReceivedLog::Look found = look(here, true);
  if (live_ != nullptr) return live_->idle(here, deadline_idle_ns);
  if (found.kind == ReceivedLog::Look::Kind::input) {
    const std::uint64_t idle_ns = wakeup_idle_ns(found.event);
    if (idle_ns < here.idle_ns || idle_ns > deadline_idle_ns) {
      throw Error(ErrorCode::divergence, "the primary's log: an idle wait at position " +
                                             std::to_string(here.position.steps) +
                                             " ended past a timer that is due before");
    }
    return {IdleOutcome::Kind::early, idle_ns};
  }
  const bool is_end = found.kind == ReceivedLog::Look::Kind::end;
  if (is_end && found.then != ReceivedLog::Then::run_on) {
    stop_ = true;
    return {IdleOutcome::Kind::stop, 0};
  }
  if (deadline_idle_ns == kNever) return {IdleOutcome::Kind::forever, 0};
  return {IdleOutcome::Kind::deadline, deadline_idle_ns};
}

}  // namespace chronovisor::replica
