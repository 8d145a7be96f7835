#include "recorder/live/stuck_watch.h"

#include <algorithm>

#include "base/hash.h"

namespace chronovisor {
namespace {

/// A guest that reads ports at least this often, in steps, does little else.
constexpr std::uint64_t kStepsPerPortRead = 256;

}  // namespace

std::uint64_t StuckWatch::Recurrence::add(std::uint64_t value) {
  for (Seen& seen : seen_) {
    if (seen.times == 0 || seen.value != value) continue;
    ++hits_;
    return seen.times++;
  }
  const auto rarest = std::min_element(
      seen_.begin(), seen_.end(), [](const Seen& a, const Seen& b) { return a.times < b.times; });
  *rarest = {value, 1};
  return 0;
}

void StuckWatch::restart(Position here) {
  since_ = here;
  last_look_ = here;
  samples_ = polling_looks_ = port_reads_ = 0;
  states_.clear();
  places_.clear();
}

void StuckWatch::progress(Position here) {
  // Bytes of output come by the thousand.
  if (samples_ == 0 && port_reads_ == 0) {
    since_ = last_look_ = here;
    return;
  }
  restart(here);
}

bool StuckWatch::look(const Machine& machine) {
  const Position here = machine.position();
  const std::uint64_t steps = here.steps - last_look_.steps;
  if (steps == 0) return false;
  last_look_ = here;
  const CpuState& state = machine.cpu().state;
  const std::uint64_t place = machine.cpu().linear_rip();
  const std::uint64_t registers =
      hash64({reinterpret_cast<const std::uint8_t*>(state.gpr.data()), 16 * sizeof(state.gpr[0])});
  ++samples_;
  if (port_reads_ * kStepsPerPortRead >= steps) ++polling_looks_;
  port_reads_ = 0;
  states_.add(place ^ (registers * 31));
  const std::uint64_t here_before = places_.add(place);
  const bool same_states = mostly(states_.hits());
  const bool same_places = mostly(places_.hits()) && (mostly(polling_looks_) || panicked_);
  if (samples_ < kLeastSamples) return false;
  if (!same_states && !same_places) {
    // A loop may begin at any time: what came before it must not weigh.
    restart(here);
    return false;
  }
  return here.steps - since_.steps >= after_steps_ && here_before > samples_ / 64;
}

}  // namespace chronovisor
