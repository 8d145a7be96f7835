#include "api/activity.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "session/address_space.h"

namespace chronovisor::api {
namespace {

/// Of a long stretch, so much of each bin is looked at, ...
constexpr std::uint64_t kSampleSteps = 20'000;
/// ... at so many places.
constexpr std::uint64_t kLooks = 16;

}  // namespace

ActivityScan::ActivityScan(Timeline& timeline, const Bins& bins)
    : timeline_(timeline),
      bins_(bins),
      exact_(bins.to.steps - bins.from.steps <= kMostExactSteps),
      deliveries_(timeline) {}

std::uint64_t ActivityScan::bin_at(std::uint64_t n) const {
  // Exact ones follow one another, which spares travelling.
  if (exact_) return n;
  // The numbers below the next power of two by their bits from the lowest on.
  const auto bits = static_cast<unsigned>(std::bit_width(bins_.count - 1));
  std::uint64_t met = 0;
  for (std::uint64_t number = 0; number < (std::uint64_t{1} << bits); ++number) {
    std::uint64_t turned = 0;
    for (unsigned bit = 0; bit < bits; ++bit) turned |= (number >> bit & 1) << (bits - 1 - bit);
    if (turned < bins_.count && met++ == n) return turned;
  }
  return 0;
}

void ActivityScan::learn() {
  deliveries_.learn_gates();
  deliveries_.learn_call_entries();
}

ActivitySample ActivityScan::look(std::uint64_t bin, CancelToken cancel) {
  const auto interrupted = [&] {
    if (cancel.requested()) throw Error(ErrorCode::host, "interrupted");
  };
  std::uint64_t from = bins_.first_of(bin);
  const std::uint64_t end = bin + 1 == bins_.count ? bins_.to.steps : bins_.first_of(bin + 1);
  if (!exact_) {
    // The way to a checkpoint is short.
    const auto& checkpoints = timeline_.reader().checkpoints();
    const auto next = std::lower_bound(
        checkpoints.begin(), checkpoints.end(), Position{from},
        [](const CheckpointInfo& info, Position wanted) { return info.position < wanted; });
    if (next != checkpoints.end() && next->position.steps < end) from = next->position.steps;
  }
  ActivitySample sample;
  sample.bin = bin;
  sample.position = {from};
  sample.steps = exact_ ? end - from : std::min(end - from, kSampleSteps);
  if (exact_ && deliveries_.gates().empty()) {
    // A guest may set its table up within the stretch.
    timeline_.seek({bins_.to, 0}, cancel);
    interrupted();
    learn();
  }
  if (timeline_.now() != Moment{{from}, 0}) timeline_.seek({{from}, 0}, cancel);
  interrupted();
  learn();
  for (std::uint64_t n = 1; n <= kLooks; ++n) {
    const Cpu& cpu = timeline_.machine().cpu();
    ++sample.looks;
    ++(cpu.state.halted ? sample.halted : cpu.cpl() == 3 ? sample.user : sample.kernel);
    ++sample.spaces[session::address_space(cpu.state.cr3)];
    const Position to{from + sample.steps / kLooks * n + sample.steps % kLooks * n / kLooks};
    while (timeline_.now().position < to) {
      const auto handler = deliveries_.next(to, cancel);
      interrupted();
      if (!handler) break;
      if (const auto made = deliveries_.system_call()) {
        ++sample.calls[*made];
      } else {
        ++sample.vectors[deliveries_.vectors_of(*handler).front()];
      }
    }
  }
  return sample;
}

}  // namespace chronovisor::api
