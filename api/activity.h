// Owns what the processor did in a stretch, by looking at it: how much in the kernel, in
// programs and waiting, in which address spaces, which interrupts and exceptions it took, and
// which system calls were made. Of a short stretch all of it, of a long one a short run at the
// beginning of each of its bins. Knows no picture. The thread that owns the timeline.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "api/lanes.h"
#include "base/cancel.h"
#include "session/delivery_walk.h"
#include "timetravel/timeline.h"

namespace chronovisor::api {

/// A stretch up to this long is looked at as a whole.
inline constexpr std::uint64_t kMostExactSteps = 20'000'000;

struct ActivitySample {
  std::uint64_t bin = 0;
  Position position;
  std::uint64_t steps = 0;  ///< looked at, from there on
  std::uint64_t looks = 0;  ///< of which the rest are parts
  std::uint64_t kernel = 0;
  std::uint64_t user = 0;
  std::uint64_t halted = 0;
  std::map<std::uint64_t, std::uint64_t> spaces{};  ///< CR3, as session/address_space.h has it
  std::map<std::uint8_t, std::uint64_t> vectors{};  ///< deliveries by vector
  std::map<session::SystemCall, std::uint64_t> calls{};
};

class ActivityScan {
 public:
  /// The timeline must outlive this, and stands elsewhere afterwards.
  ActivityScan(Timeline& timeline, const Bins& bins);

  [[nodiscard]] bool exact() const { return exact_; }
  /// The order in which bins are looked at, coarse to fine: number `n` of bins.count.
  [[nodiscard]] std::uint64_t bin_at(std::uint64_t n) const;
  /// Looks at a bin. Throws Error{host} when cancelled.
  [[nodiscard]] ActivitySample look(std::uint64_t bin, CancelToken cancel);

 private:
  void learn();

  Timeline& timeline_;
  Bins bins_;
  bool exact_;
  session::DeliveryWalk deliveries_;
};

}  // namespace chronovisor::api
