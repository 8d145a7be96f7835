#include "host/scripted_input.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

/// How often what is waited for is looked for, and how soon a full device is tried again.
constexpr std::uint64_t kLookNs = 10'000'000;
constexpr std::uint64_t kRoomNs = 1'000'000;

}  // namespace

ScriptedInput::ScriptedInput(std::vector<ScriptStep> steps, std::uint64_t ns_per_step,
                             InputSource& beside, Seen seen, std::function<void()> end)
    : steps_(std::move(steps)),
      ns_per_step_(ns_per_step),
      beside_(beside),
      seen_(std::move(seen)),
      end_(std::move(end)) {}

Position ScriptedInput::next_look(Position now) {
  Position next = beside_.next_look(now);
  if (left() != 0 && ns_per_step_ != 0) {
    const std::uint64_t worked = due_ns_ > seen_idle_ns_ ? due_ns_ - seen_idle_ns_ : 0;
    const std::uint64_t at = (worked + ns_per_step_ - 1) / ns_per_step_;
    next = std::min(next, Position{std::max(at, now.steps + 1)});
  }
  return next;
}

std::optional<Input> ScriptedInput::take(InputStamp here, const InputRoom& room) {
  seen_idle_ns_ = here.idle_ns;
  const std::uint64_t now_ns = time_of(here);
  while (left() != 0 && now_ns >= due_ns_) {
    const ScriptStep& step = steps_[next_];
    switch (step.kind) {
      case ScriptStep::Kind::wait:
        break;
      case ScriptStep::Kind::end:
        end_();
        break;
      case ScriptStep::Kind::screen:
      case ScriptStep::Kind::serial:
        if (!seen_(step)) {
          due_ns_ = now_ns + kLookNs;
          continue;
        }
        break;
      case ScriptStep::Kind::input:
        if (!room.has_room(step.input.kind, step.input.device)) {
          due_ns_ = now_ns + kRoomNs;
          continue;
        }
        break;
    }
    ++next_;
    due_ns_ = now_ns + step.wait_ns;
    if (step.kind == ScriptStep::Kind::input) return step.input;
  }
  return beside_.take(here, room);
}

IdleOutcome ScriptedInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (left() == 0) return beside_.idle(here, deadline_idle_ns);
  const std::uint64_t now_ns = time_of(here);
  const std::uint64_t due_idle_ns =
      here.idle_ns + (due_ns_ > now_ns ? due_ns_ - now_ns : std::uint64_t{0});
  if (due_idle_ns >= deadline_idle_ns) return beside_.idle(here, deadline_idle_ns);
  const IdleOutcome outcome = beside_.idle(here, due_idle_ns);
  // Its deadline is not the machine's.
  if (outcome.kind == IdleOutcome::Kind::deadline) return {IdleOutcome::Kind::early, due_idle_ns};
  return outcome;
}

}  // namespace chronovisor
