// Owns the knowledge of what the laboratory's processor (QEMU's emulation, see
// docs/KVM.md) and the KVM on it do otherwise than the manuals say. Valid there
// only. Knows no generation. Any thread.
#pragma once

#include <string>
#include <vector>

#include "tests/crosscheck/lab_step.h"

namespace chronovisor::crosscheck {

/// This program runs on QEMU's emulated processor, by CPUID's hypervisor leaf.
[[nodiscard]] bool in_laboratory();

/// Why the next step may not be taken there: it hangs or ends QEMU or the KVM
/// on it, or has another meaning. Empty when it may.
[[nodiscard]] std::string kept_from_lab(const Cpu& cpu, const Ram& memory,
                                        const Instruction& instruction, const std::string& name);

/// The causes that together explain all of a difference; empty when something of
/// it is not explained.
[[nodiscard]] std::vector<std::string> lab_causes(const LabStep& step);

/// The cause of what differs in one field, where it explains no more than that;
/// empty when none is known.
[[nodiscard]] std::string lab_part(const LabStep& step, const kvm::FieldValue& field);

/// Both sides go on alike after these.
[[nodiscard]] bool harmless(const std::vector<std::string>& causes);

}  // namespace chronovisor::crosscheck
