#include "recorder/live/replay_input.h"

#include "base/error.h"

namespace chronovisor {

ReplayInput::ReplayInput(const RecordingReader& reader)
    : reader_(reader), cursor_(std::in_place, reader) {}

void ReplayInput::rewind_to(Position position) {
  cursor_.emplace(reader_, position);
  end_idle_ns_.reset();
}

Position ReplayInput::next_look(Position now) {
  const InputEvent* event = cursor_->peek();
  if (event == nullptr) return {kNever};
  return event->position > now ? event->position : Position{now.steps + 1};
}

std::optional<Input> ReplayInput::take(InputStamp here, const InputRoom& /*room*/) {
  const InputEvent* event = cursor_->peek();
  if (event == nullptr || event->kind == InputKind::wakeup) return std::nullopt;
  const InputStamp stamp{event->position, event->idle_ns};
  if (stamp > here) return std::nullopt;
  if (stamp < here) {
    throw Error(ErrorCode::divergence,
                reader_.name() + ": an input recorded at position " +
                    grouped(stamp.position.steps) + ", idle " + grouped(stamp.idle_ns) +
                    " ns, was not reached: the machine is at " + grouped(here.position.steps) +
                    ", idle " + grouped(here.idle_ns) + " ns");
  }
  Input input{event->kind, event->device, event->payload};
  cursor_->pop();
  return input;
}

IdleOutcome ReplayInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  const IdleOutcome outcome = recorded_outcome(here, deadline_idle_ns);
  if (on_idle_ && outcome.idle_ns > here.idle_ns) on_idle_(outcome.idle_ns - here.idle_ns);
  return outcome;
}

IdleOutcome ReplayInput::recorded_outcome(InputStamp here, std::uint64_t deadline_idle_ns) {
  const InputEvent* event = cursor_->peek();
  if (event == nullptr && end_idle_ns_ && here.idle_ns >= *end_idle_ns_) {
    return {IdleOutcome::Kind::stop, 0};
  }
  if (event != nullptr && event->kind == InputKind::wakeup &&
      InputStamp{event->position, event->idle_ns} == here) {
    const std::uint64_t idle_ns = wakeup_idle_ns(*event);
    cursor_->pop();
    if (idle_ns < here.idle_ns || idle_ns > deadline_idle_ns) {
      throw Error(ErrorCode::divergence, reader_.name() + ": the idle wait at position " +
                                             grouped(here.position.steps) +
                                             " ended past a timer that is due before");
    }
    return {IdleOutcome::Kind::early, idle_ns};
  }
  if (deadline_idle_ns == kNever) return {IdleOutcome::Kind::forever, 0};
  return {IdleOutcome::Kind::deadline, deadline_idle_ns};
}

}  // namespace chronovisor
