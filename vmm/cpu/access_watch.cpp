#include "vmm/cpu/access_watch.h"

#include <algorithm>
#include <array>
#include <string>

namespace chronovisor {

bool AccessWatch::data_page_watched(std::uint64_t linear_page, GuestPhysical physical_page) const {
  if (hooks_ != nullptr && (hooks_->watchpoint_on_page(linear_page) ||
                            hooks_->physical_watchpoint_on_page(physical_page))) {
    return true;
  }
  if (!guest_enabled()) return false;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_enabled(state_.dr7, n) && breakpoint_kind(state_.dr7, n) != kBreakExecute &&
        (state_.dr[n] & kPageMask) == linear_page) {
      return true;
    }
  }
  return false;
}

AccessWatch::Outcome AccessWatch::data_accessed(GuestLinear linear, unsigned size, Access access) {
  const std::uint64_t address = linear.value;
  const bool write = access == Access::write;
  if (observer_ != nullptr) observer_->accessed(address, size, write);
  Outcome outcome = Outcome::go_on;
  if (hooks_ != nullptr && hooks_->accessed(address, size, write)) {
    hit_ = true;
    outcome = Outcome::stop_at_boundary;
  }
  constexpr unsigned kByRead = 1U << kBreakReadWrite;
  constexpr unsigned kByWrite = kByRead | 1U << kBreakWrite;
  const Outcome guest = guest_range_touched(address, size, write ? kByWrite : kByRead);
  return guest == Outcome::go_on ? outcome : guest;
}

AccessWatch::Outcome AccessWatch::physical_written(GuestPhysical address, unsigned size) {
  if (hooks_ == nullptr || !hooks_->wrote_physical({}, address, size)) return Outcome::go_on;
  hit_ = true;
  return Outcome::stop_at_boundary;
}

/// Each watchpoint is recorded at most once.
AccessWatch::Outcome AccessWatch::device_wrote(std::string_view device, GuestPhysical address,
                                               std::uint64_t size, const Translate& translate,
                                               const Describe& describe) {
  if (observer_ != nullptr) observer_->device_wrote(device, address, size);
  if (hooks_ == nullptr) return Outcome::go_on;
  bool touched = hooks_->wrote_physical(device, address, size);
  if (touched)
    hooks_->physical_hits.back().request = describe(hooks_->physical_hits.back().address);
  for (const Watchpoint& w : hooks_->watchpoints) {
    if (!w.on_write) continue;
    const std::uint64_t last = w.address + (w.length - 1);
    for (std::uint64_t page = w.address & kPageMask;; page += kPageSize) {
      const std::uint64_t first = std::max(page, w.address);
      const std::uint64_t end = std::min(page + (kPageSize - 1), last);
      if (const auto physical = translate({first})) {
        const std::uint64_t from = std::max(physical->value, address.value);
        const std::uint64_t to =
            std::min(physical->value + (end - first), address.value + (size - 1));
        if (from <= to) {
          hooks_->hits.push_back({w, first + (from - physical->value), true, std::string(device),
                                  describe(GuestPhysical{from})});
          touched = true;
          break;
        }
      }
      if (end == last) break;
    }
  }
  return touched ? Outcome::stop_at_boundary : Outcome::go_on;
}

AccessWatch::Outcome AccessWatch::port_accessed(std::uint16_t port, unsigned size) {
  if ((state_.cr4 & kCr4De) == 0) return Outcome::go_on;
  return guest_range_touched(port, size, 1U << kBreakPort);
}

/// A #DB is due if a debug register is enabled, of a kind in the set `kinds` (bit
/// n: BreakpointKind n), and its range touches these bytes.
/// Source: SDM vol. 3B, "Data and I/O Breakpoint Exception Conditions".
AccessWatch::Outcome AccessWatch::guest_range_touched(std::uint64_t address, unsigned size,
                                                      unsigned kinds) {
  if (!guest_enabled()) return Outcome::go_on;
  Outcome outcome = Outcome::go_on;
  for (unsigned n = 0; n < 4; ++n) {
    if (!breakpoint_enabled(state_.dr7, n) || (kinds >> breakpoint_kind(state_.dr7, n) & 1) == 0)
      continue;
    static constexpr std::array<std::uint64_t, 4> kLength{1, 2, 8, 4};
    const std::uint64_t length = kLength[(state_.dr7 >> (18 + 4 * n)) & 3];
    const std::uint64_t first = state_.dr[n] & ~(length - 1);
    if (first <= address + size - 1 && address <= first + length - 1) {
      state_.pending_debug |= 1ULL << n;
      outcome = Outcome::stop_at_boundary;
    }
  }
  return outcome;
}

std::uint64_t AccessWatch::guest_breakpoints_at(std::uint64_t linear_rip) const {
  std::uint64_t hit = 0;
  if (!guest_enabled()) return hit;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_enabled(state_.dr7, n) && breakpoint_kind(state_.dr7, n) == kBreakExecute &&
        state_.dr[n] == linear_rip) {
      hit |= 1ULL << n;
    }
  }
  return hit;
}

}  // namespace chronovisor
