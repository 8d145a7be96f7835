// Owns one vCPU that executes single instructions for a Cpu: it loads the
// Cpu's registers into KVM as far as they differ, steps once, and puts the
// result back. The guest's RAM is shared. Exceptions are never left to KVM:
// the vCPU is given an empty interrupt table, so that an instruction that
// faults ends in a shutdown with nothing delivered, and the caller lets the
// soft processor execute it. Knows no devices and no positions. One thread a
// machine.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/engine/kvm/kvm_device.h"
#include "vmm/engine/kvm/self_test.h"
#include "vmm/engine/kvm/state_transfer.h"
#include "vmm/memory/ram.h"

namespace chronovisor::kvm {

enum class StepOutcome : std::uint8_t {
  retired,      ///< the Cpu holds the state after the step
  unfinished,   ///< one iteration of a REP instruction retired, more follow
  not_taken,    ///< it faulted, touched a device, or KVM refused the state: the Cpu is unchanged
  unsupported,  ///< KVM cannot emulate this instruction: the Cpu is unchanged
  too_far,      ///< KVM did not stop behind it: the Cpu is unchanged, memory is not
  handler,      ///< with InterruptTable::guest: an exception was delivered, see Stepper
};

/// What the vCPU finds where the guest's IDT is.
enum class InterruptTable : std::uint8_t {
  empty,  ///< the engine: no exception is delivered by KVM
  guest,  ///< the cross-check: handlers begin with HLT, and exceptions stop behind it
};

class Stepper {
 public:
  Stepper(Cpu& cpu, Ram& ram, const Capabilities& capabilities,
          InterruptTable interrupt_table = InterruptTable::empty);

  /// Executes the instruction at RIP, which is `instruction`, once.
  [[nodiscard]] StepOutcome step(const Instruction& instruction);
  /// RAM pages that KVM wrote since the last call: marked dirty, and what the
  /// Cpu derived from them dropped.
  /// @return the pages, in order
  const std::vector<std::uint64_t>& collect_dirty_pages();
  /// Forgets what is loaded: the next step loads everything.
  void forget() { everything_stale_ = true; }
  /// How the latest step ended, for people.
  [[nodiscard]] std::string last_exit() const;
  /// The vCPU's registers after `handler`.
  [[nodiscard]] const kvm_regs& exit_regs() const { return exit_regs_; }
  [[nodiscard]] const kvm_sregs& exit_sregs() const { return exit_sregs_; }
  /// MSR accesses of the vCPU come to user space.
  [[nodiscard]] bool msrs_filtered() const { return msrs_filtered_; }
  [[nodiscard]] Vm& vm() { return *vm_; }
  /// A step that a signal interrupts while `flag` is set is given up, as
  /// unsupported: some KVMs never come back from some. Null: never.
  void give_up_when(const std::atomic<bool>* flag) { give_up_ = flag; }

 private:
  [[nodiscard]] bool load(const Instruction& instruction, std::uint64_t count);
  [[nodiscard]] bool load_everything(const kvm_regs& regs, const kvm_sregs& sregs);
  void create_vm();
  void load_debug_registers();
  void arm_step();
  void read_exit();
  void finish_device_access();
  [[nodiscard]] bool may_end_at(const Instruction& instruction, std::uint64_t start,
                                std::uint64_t rip) const;
  [[nodiscard]] StepOutcome take_result(const Instruction& instruction, std::uint64_t count);

  Cpu& cpu_;
  Ram& ram_;
  Capabilities capabilities_;
  InterruptTable interrupt_table_;
  Device device_;
  std::unique_ptr<Vm> vm_;
  bool msrs_filtered_ = false;
  bool vm_spent_ = false;  ///< it ended in a shutdown that this host does not recover from
  kvm_sregs template_sregs_{};
  bool everything_stale_ = true;
  kvm_regs loaded_regs_{};  ///< what the vCPU holds, as far as is known
  kvm_sregs loaded_sregs_{};
  Vm::FloatingPointImage loaded_floating_point_{};
  std::vector<kvm_msr_entry> loaded_msrs_;
  kvm_regs exit_regs_{};
  kvm_sregs exit_sregs_{};
  struct Slot {
    std::uint32_t number = 0;
    std::uint64_t physical = 0;
    std::uint64_t first_page = 0;  ///< RAM page
    std::uint64_t pages = 0;
    std::vector<std::uint64_t> bitmap{};
  };
  std::vector<Slot> slots_;
  const std::atomic<bool>* give_up_ = nullptr;
  bool ran_ = false;  ///< KVM ran since dirty pages were collected
  std::vector<std::uint64_t> dirty_;
};

}  // namespace chronovisor::kvm
