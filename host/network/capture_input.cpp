#include "host/network/capture_input.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

/// How soon a full card is tried again, and how late a frame may be.
constexpr std::uint64_t kRoomNs = 100'000;
constexpr std::uint64_t kMostLateNs = 1'000'000'000;

}  // namespace

CaptureInput::CaptureInput(std::vector<CapturedFrame> frames, std::uint16_t card,
                           std::uint64_t start_ns, std::uint64_t ns_per_step, InputSource& beside)
    : frames_(std::move(frames)),
      card_(card),
      start_ns_(start_ns),
      ns_per_step_(ns_per_step),
      beside_(beside) {}

/// Of the next frame.
std::uint64_t CaptureInput::due_ns() const {
  const std::uint64_t own = frames_[next_].time_ns;
  const std::uint64_t due = own > kNever - start_ns_ ? kNever : start_ns_ + own;
  return std::max(due, not_before_ns_);
}

Position CaptureInput::next_look(Position now) {
  Position next = beside_.next_look(now);
  if (done() || ns_per_step_ == 0) return next;
  const std::uint64_t due = due_ns();
  const std::uint64_t worked = due > seen_idle_ns_ ? due - seen_idle_ns_ : 0;
  const std::uint64_t at = worked / ns_per_step_ + (worked % ns_per_step_ != 0 ? 1 : 0);
  return std::min(next, Position{std::max(at, now.steps + 1)});
}

std::optional<Input> CaptureInput::take(InputStamp here, const InputRoom& room) {
  seen_idle_ns_ = here.idle_ns;
  const std::uint64_t now_ns = here.position.steps * ns_per_step_ + here.idle_ns;
  while (!done() && due_ns() <= now_ns) {
    CapturedFrame& frame = frames_[next_];
    if (room.has_room(InputKind::network_frame, card_)) {
      ++next_;
      not_before_ns_ = 0;
      return Input{InputKind::network_frame, card_, std::move(frame.frame)};
    }
    if (now_ns - std::min(now_ns, start_ns_ + frame.time_ns) < kMostLateNs) {
      not_before_ns_ = now_ns + kRoomNs;
      break;
    }
    ++next_;
    ++dropped_;
    not_before_ns_ = 0;
  }
  return beside_.take(here, room);
}

IdleOutcome CaptureInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (done()) return beside_.idle(here, deadline_idle_ns);
  const std::uint64_t now_ns = here.position.steps * ns_per_step_ + here.idle_ns;
  const std::uint64_t due = due_ns();
  const std::uint64_t due_idle_ns = here.idle_ns + (due > now_ns ? due - now_ns : 0);
  if (due_idle_ns >= deadline_idle_ns) return beside_.idle(here, deadline_idle_ns);
  const IdleOutcome outcome = beside_.idle(here, due_idle_ns);
  // Its deadline is not the machine's.
  if (outcome.kind == IdleOutcome::Kind::deadline) return {IdleOutcome::Kind::early, due_idle_ns};
  return outcome;
}

}  // namespace chronovisor
