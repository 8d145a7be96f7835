// Owns the driving of a counted guest by a machine: lets it run freely, brings
// it to rest where an event can be recorded by counts, and comes back to the
// machine there, or wherever the guest touches a device, waits or ends. Not yet
// run on hardware: no CountedGuest over KVM exists. Knows no recording. One
// thread a machine.
#pragma once

#include <cstdint>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/hardware_counter.h"

namespace chronovisor::kvm {

struct CountedEngineOptions {
  /// How far the guest runs before it is looked after, in conditional branches.
  std::uint64_t slice_branches = 100'000;
  SearchLimits limits;
};

/// An engine that does not know positions: they move on, but by how much is only
/// known once the soft processor has counted. So run() does not stop at `until`,
/// and the machine's clock must not depend on steps (ns_per_step 0).
class CountedEngine final : public CpuEngine {
 public:
  /// The guest must outlive this. Throws Error{host} when `trust` is not usable.
  CountedEngine(CountedGuest& guest, const CounterTrust& trust,
                const CountedEngineOptions& options);

  [[nodiscard]] std::string_view name() const override { return "counted"; }
  [[nodiscard]] bool tells_observers() const override { return false; }
  /// Runs until something is to be looked after. `until` is not honoured.
  CpuStop run(Position until, std::uint32_t deliveries) override;
  void collect_dirty_pages() override {}
  void state_replaced() override { restart_counts(); }

  [[nodiscard]] const CounterTrust& trust() const { return trust_; }
  /// An event may be recorded here, at place().
  [[nodiscard]] bool recordable() const { return recordable_; }
  [[nodiscard]] CountedPlace place() const { return guest_.place(); }
  /// An event was recorded here; more may follow before the guest runs on.
  void restart_counts();
  /// The guest does not run on: run() comes back at once.
  void hold() { held_ = true; }

 private:
  CountedGuest& guest_;
  CounterTrust trust_;
  CountedEngineOptions options_;
  bool recordable_ = true;  ///< power-on: nothing has run
  bool settling_ = false;   ///< stepping to a place where an event can be recorded
  bool behind_branch_ = false;
  std::uint64_t settling_steps_ = 0;
  bool held_ = false;
};

}  // namespace chronovisor::kvm
