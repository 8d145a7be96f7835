// Owns the KVM engine: a CpuEngine that lets the host's KVM execute one
// instruction at a time and keeps the soft processor for what a step may not
// execute on the host: time, entropy, CPUID, MSRs, ports and memory-mapped
// devices, HLT, the delivery of every exception and interrupt, and whatever
// KVM turns out not to emulate. The Cpu holds the state between any two steps,
// so checkpoints and digests are the soft engine's own. One thread a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/self_test.h"
#include "vmm/engine/kvm/step_policy.h"
#include "vmm/engine/kvm/stepper.h"
#include "vmm/engine/kvm/undo_log.h"
#include "vmm/machine/machine.h"

namespace chronovisor::kvm {

/// What was executed where. Diagnostics, not state.
struct EngineCounters {
  std::uint64_t host_steps = 0;
  std::uint64_t soft_steps = 0;   ///< by rule
  std::uint64_t given_back = 0;   ///< tried on the host: it faulted, or touched a device
  std::uint64_t unsupported = 0;  ///< tried on the host: KVM could not emulate it
  std::uint64_t undone = 0;       ///< tried on the host: KVM ran on into the next instruction
};

class KvmEngine final : public CpuEngine {
 public:
  /// Throws Error{host}, with the reason, where KVM cannot be this engine.
  KvmEngine(Cpu& cpu, Ram& ram, const Capabilities& capabilities);

  [[nodiscard]] std::string_view name() const override { return "kvm"; }
  [[nodiscard]] bool tells_observers() const override { return false; }
  CpuStop run(Position until, std::uint32_t deliveries) override;
  void collect_dirty_pages() override { stepper_.collect_dirty_pages(); }
  void state_replaced() override { stepper_.forget(); }

  [[nodiscard]] const EngineCounters& counters() const { return counters_; }
  /// The latest step was executed by the host.
  [[nodiscard]] bool last_step_on_host() const { return last_on_host_; }

 private:
  [[nodiscard]] bool host_may_step();
  [[nodiscard]] bool fetch(Instruction& instruction);
  [[nodiscard]] bool fetch_at(std::uint64_t rip, Instruction& instruction);
  void remember_memory(const Instruction& instruction);
  void undo_step(const Instruction& instruction);
  [[nodiscard]] bool plainly_inside(unsigned segment, std::uint64_t offset,
                                    std::uint64_t size) const;
  template <class Visit>
  [[nodiscard]] bool every_access(const Instruction& instruction, Visit&& visit);
  [[nodiscard]] bool accesses_are_plain(const Instruction& instruction);
  CpuStop soft_event();

  Cpu& cpu_;
  Ram& ram_;
  Capabilities capabilities_;
  StepPolicy policy_;
  Stepper stepper_;
  UndoLog undo_;
  std::optional<Instruction> behind_;  ///< the instruction behind the one that is stepped
  std::array<std::uint8_t, 16> bytes_{};
  std::size_t bytes_fetched_ = 0;
  bool last_on_host_ = false;
  EngineCounters counters_;
};

/// What gives a machine the engine `name`, soft or kvm; the KVM at `device` is
/// tested once, here. Any thread may call it. Throws Error{usage} for another
/// name and Error{host}, with what to do, where the host cannot.
[[nodiscard]] std::function<void(Machine&)> engine_selector(
    const std::string& name, const std::string& device = kDevicePath);
/// The same, for one machine.
void select_engine(Machine& machine, const std::string& name,
                   const std::string& device = kDevicePath);

}  // namespace chronovisor::kvm
