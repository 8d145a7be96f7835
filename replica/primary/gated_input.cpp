#include "replica/primary/gated_input.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "host/host.h"

namespace chronovisor::replica {
namespace {

/// A machine that runs is asked this often: each time interrupts it, and what has to be soon is
/// asked for more often while there is something.
constexpr std::uint64_t kLookSteps = 1'000'000;
constexpr std::uint64_t kUrgentLookSteps = 100'000;
constexpr std::uint64_t kMarkNs = 20'000'000;
/// Outputs of a machine that runs wait until the last mark is so long ago: a guest that writes
/// to its serial line would have a mark for each byte, and each costs three threads a wakening.
constexpr std::uint64_t kOutputNs = 500'000;
constexpr std::uint64_t kLagSteps = 100'000'000;
/// Each sleep costs more than its time: few long ones, not many short ones.
constexpr std::uint64_t kStepsPerSlowingMs = 10'000'000;
constexpr std::uint64_t kMostSlowingMs = 20;
constexpr std::uint64_t kMostHeldBytes = 8U << 20;

void sleep_ms(std::uint64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace

Position GatedInput::next_look(Position now) {
  return std::min(beside_.next_look(now),
                  Position{now.steps + (output_waits() ? kUrgentLookSteps : kLookSteps)});
}

std::optional<Input> GatedInput::take(InputStamp here, const InputRoom& room) {
  attend(here);
  if (stop_) return std::nullopt;
  return beside_.take(here, room);
}

IdleOutcome GatedInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (output_waits()) mark(here, monotonic_ns());
  attend(here);
  if (stop_) return {IdleOutcome::Kind::stop, 0};
  waits_at_ = here;
  return beside_.idle(here, deadline_idle_ns);
}

void GatedInput::waiting() { attend(waits_at_); }

void GatedInput::attend(InputStamp here) {
  if (primary_.must_stop()) {
    stop_ = true;
    return;
  }
  const std::uint64_t now_ns = monotonic_ns();
  const bool moved = here != marked_ || !any_mark_;
  const bool waits = output_waits() && now_ns - marked_ns_ >= kOutputNs;
  const bool due = moved && now_ns - marked_ns_ >= kMarkNs;
  if (waits || due) mark(here, now_ns);
  if (primary_.wants_yield()) {
    mark(here, now_ns);
    handed_over_ = primary_.yield();
  }
  slow_down(here.position, now_ns);
  if (primary_.must_stop()) stop_ = true;
}

void GatedInput::mark(InputStamp here, std::uint64_t now_ns) {
  const std::uint64_t began_cpu_ns = thread_cpu_ns();
  // The writer holds nothing back: with each tick the log is in the file.
  RecordingWriter& writer = writer_();
  writer.advance_to(here.position);
  writer.tick(now_ns);
  marked_outputs_ = gate_.made();
  marked_ = here;
  marked_ns_ = now_ns;
  any_mark_ = true;
  primary_.mark(here.position, here.idle_ns, writer.file_bytes());
  primary_.used(thread_cpu_ns() - began_cpu_ns);
}

void GatedInput::slow_down(Position here, std::uint64_t now_ns) {
  const std::uint64_t lag = primary_.lag_steps();
  const bool is_behind = lag > kLagSteps && here.steps >= slowed_at_.steps + kLookSteps;
  const bool is_full = gate_.held_bytes() > kMostHeldBytes;
  if (!is_behind && !is_full) return;
  if (is_behind) {
    slowed_at_ = here;
    sleep_ms(std::min(1 + (lag - kLagSteps) / kStepsPerSlowingMs, kMostSlowingMs));
  }
  while (gate_.held_bytes() > kMostHeldBytes && !primary_.must_stop()) sleep_ms(1);
  primary_.slowed(monotonic_ns() - now_ns);
}

void GatedInput::ended(InputStamp here, bool guest_ended) {
  if (primary_.must_stop()) return;
  mark(here, monotonic_ns());
  primary_.over(guest_ended);
}

}  // namespace chronovisor::replica
