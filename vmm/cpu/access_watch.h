// Owns who watches a processor's accesses: the debugger's hooks, an access
// observer, and the guest's own debug registers. It says which pages must stay off
// the fast path, and whether an access ends the running block. Knows no TLB and no
// execution. One thread a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/units.h"
#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/cpu/state/access.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor {

class AccessWatch {
 public:
  /// What has to happen after an access.
  enum class Outcome : std::uint8_t { go_on, stop_at_boundary };

  explicit AccessWatch(CpuState& state) : state_(state) {}

  void set_hooks(DebugHooks* hooks) {
    hooks_ = hooks;
    hit_between_steps_ = false;
  }
  [[nodiscard]] DebugHooks* hooks() { return hooks_; }
  /// A new interval begins: the observer is told of everything anew.
  void set_observer(AccessObserver* observer) {
    observer_ = observer;
    ++interval_;
  }
  [[nodiscard]] AccessObserver* observer() { return observer_; }
  /// Counts set_observer().
  [[nodiscard]] std::uint64_t interval() const { return interval_; }
  [[nodiscard]] bool anyone() const { return hooks_ != nullptr || observer_ != nullptr; }

  /// Some data access of this page must be told of one by one.
  [[nodiscard]] bool data_page_watched(std::uint64_t linear_page,
                                       GuestPhysical physical_page) const;
  /// A data access took the slow path.
  [[nodiscard]] Outcome data_accessed(GuestLinear address, unsigned size, Access access);
  /// An instruction has written RAM, or a device's memory or registers.
  [[nodiscard]] Outcome physical_written(GuestPhysical address, unsigned size);
  /// Where the debugger's linear addresses lie now.
  using Translate = std::function<std::optional<GuestPhysical>(GuestLinear)>;
  /// What the device that writes is about; called only for a hit, with its first byte.
  using Describe = std::function<DeviceRequest(GuestPhysical)>;
  /// A device has written RAM: the observer is told, and watchpoints are looked at,
  /// linear ones by where the present page tables put them.
  [[nodiscard]] Outcome device_wrote(std::string_view device, GuestPhysical address,
                                     std::uint64_t size, const Translate& translate,
                                     const Describe& describe);
  /// An instruction has read or written a port: the guest's I/O breakpoints.
  [[nodiscard]] Outcome port_accessed(std::uint16_t port, unsigned size);
  /// Instructions at `linear_rip` need a look before each of them.
  [[nodiscard]] bool code_page_watched(std::uint64_t linear_rip) const {
    return guest_enabled() ||
           (hooks_ != nullptr && hooks_->breakpoint_on_page(linear_rip & kPageMask));
  }
  /// DR6 bits of the guest's instruction breakpoints at `linear_rip`.
  [[nodiscard]] std::uint64_t guest_breakpoints_at(std::uint64_t linear_rip) const;

  /// A watchpoint of the debugger was touched since clear_hit().
  [[nodiscard]] bool hit() const { return hit_; }
  /// A run begins: what a device touched since the last one, between two steps, counts.
  void clear_hit() {
    hit_ = hit_between_steps_;
    hit_between_steps_ = false;
  }
  /// A device touched watched memory while nothing executed.
  void note_hit_between_steps() { hit_between_steps_ = true; }
  void note_hit() { hit_ = true; }
  /// The machine was put somewhere else.
  void forget_hit_between_steps() { hit_between_steps_ = false; }

 private:
  [[nodiscard]] bool guest_enabled() const { return (state_.dr7 & 0xff) != 0; }
  [[nodiscard]] Outcome guest_range_touched(std::uint64_t address, unsigned size, unsigned kinds);

  CpuState& state_;
  DebugHooks* hooks_ = nullptr;
  AccessObserver* observer_ = nullptr;
  std::uint64_t interval_ = 0;
  bool hit_ = false;
  bool hit_between_steps_ = false;
};

}  // namespace chronovisor
