// Owns the knowledge of what the laboratory's processor (QEMU's emulation, see
// docs/KVM.md) and the KVM on it do otherwise than the manuals say. Valid there
// only. Knows no generation. Any thread.
#pragma once

#include <string>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/kvm/lock_step.h"
#include "vmm/memory/ram.h"

namespace chronovisor::crosscheck {

/// This program runs on QEMU's emulated processor, by CPUID's hypervisor leaf.
[[nodiscard]] bool in_laboratory();

/// One step as both processors made it.
struct LabStep {
  const std::string& name;  ///< of the instruction's row
  const Instruction& instruction;
  const std::vector<kvm::FieldValue>& fields;  ///< that differ
  const CpuState& before;
  unsigned cpl_before = 0;
  std::uint64_t operand_offset = 0;  ///< of the memory operand, before it
  const Cpu& left;                   ///< after it
  const Ram& memory;                 ///< of the left one, after it
  std::uint64_t right_rip = 0;       ///< behind a handler's HLT, where `right_halted`
  bool right_halted = false;
  bool right_shut_down = false;
};

/// Why the next step may not be taken there: it hangs or ends QEMU or the KVM
/// on it, or has another meaning. Empty when it may.
[[nodiscard]] std::string kept_from_lab(const Cpu& cpu, const Ram& memory,
                                        const Instruction& instruction, const std::string& name);

/// The causes that together explain all of a difference; empty when something of
/// it is not explained.
[[nodiscard]] std::vector<std::string> lab_causes(const LabStep& step);

/// Both sides go on alike after these.
[[nodiscard]] bool harmless(const std::vector<std::string>& causes);

}  // namespace chronovisor::crosscheck
