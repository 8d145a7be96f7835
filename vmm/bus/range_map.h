// Owns which device answers at which address of one bus: claims that may be
// fixed or follow a window, flattened into disjoint ranges whenever one moves.
// Overlaps are allowed; Precedence says who answers. Knows no device type. One
// thread a machine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vmm/devices/core/window.h"

namespace chronovisor {

template <class Target>
class RangeMap final : public WindowHost {
 public:
  struct Range {
    std::uint64_t first;
    std::uint64_t last;  ///< inclusive: a range may end with the bus
    Target* target;
    std::uint64_t offset;  ///< what the target sees at `first`
  };

  /// @param last the last address of the bus
  explicit RangeMap(std::uint64_t last) : last_(last) {}

  /// What lies beyond the end of the bus is cut off.
  void add(std::uint64_t first, std::uint64_t size, std::uint64_t offset, Target& target) {
    claims_.push_back({first, size, offset, &target, Precedence::board, nullptr});
    window_moved();
  }
  void add(Window& window, Target& target, Precedence precedence) {
    claims_.push_back({0, window.size(), 0, &target, precedence, &window});
    window.set_host(*this);
    window_moved();
  }
  /// The ranges are sorted and disjoint, so at most one holds `address`.
  [[nodiscard]] const Range* find(std::uint64_t address) const {
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                  [](std::uint64_t a, const Range& r) { return a < r.first; });
    if (after == ranges_.begin()) return nullptr;
    --after;
    return address <= after->last ? &*after : nullptr;
  }
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }

  void window_moved() override {
    ranges_.clear();
    for (const Precedence level : {Precedence::processor, Precedence::board, Precedence::bus}) {
      for (const Claim& claim : claims_) {
        if (claim.precedence == level) insert(claim);
      }
    }
  }

 private:
  struct Claim {
    std::uint64_t first;
    std::uint64_t size;
    std::uint64_t offset;
    Target* target;
    Precedence precedence;
    const Window* window;  ///< says where it is, if it is anywhere; or null
  };

  /// Gives `claim` what nobody has yet.
  void insert(const Claim& claim) {
    std::uint64_t first = claim.first;
    if (claim.window != nullptr) {
      if (!claim.window->first()) return;
      first = *claim.window->first();
    }
    if (claim.size == 0 || first > last_) return;
    const std::uint64_t last = claim.size - 1 > last_ - first ? last_ : first + claim.size - 1;
    std::vector<Range> free;
    std::uint64_t at = first;
    bool done = false;
    const auto give = [&](std::uint64_t end) {
      free.push_back({at, end, claim.target, claim.offset + (at - first)});
    };
    for (const Range& taken : ranges_) {
      if (taken.last < at) continue;
      if (taken.first > last) break;
      if (taken.first > at) give(taken.first - 1);
      if (taken.last >= last) {
        done = true;
        break;
      }
      at = taken.last + 1;
    }
    if (!done) give(last);
    ranges_.insert(ranges_.end(), free.begin(), free.end());
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
  }

  std::uint64_t last_;
  std::vector<Claim> claims_;
  std::vector<Range> ranges_;
};

}  // namespace chronovisor
