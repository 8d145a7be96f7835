// Owns the translation between the project's processor state and the
// structures of KVM's API, in both directions. Pure functions on plain data.
// Any thread.
#pragma once

#include <linux/kvm.h>

#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/engine/kvm/kvm_device.h"

namespace chronovisor::kvm {

[[nodiscard]] kvm_regs to_kvm_regs(const Cpu& cpu);
/// Everything but TF and RF: those are the stepper's.
void from_kvm_regs(Cpu& cpu, const kvm_regs& regs);

/// @param template_sregs as the vCPU was created: APIC base and the like
[[nodiscard]] kvm_sregs to_kvm_sregs(const Cpu& cpu, const kvm_sregs& template_sregs);

/// What of a segment register KVM may report otherwise than it was told.
struct SegmentQuirks {
  bool keeps_granularity = true;  ///< G is as it was loaded, not derived from the limit
};

[[nodiscard]] kvm_segment to_kvm_segment(const SegmentRegister& segment);
/// `known` is what the Cpu holds: where KVM reports the same register, every
/// bit of it stays, G and the base under a null selector included.
[[nodiscard]] SegmentRegister from_kvm_segment(const kvm_segment& segment,
                                               const SegmentRegister& known, bool keeps_base,
                                               const SegmentQuirks& quirks);

/// Takes segments, tables, control registers and CPL; not the IDTR, which the
/// stepper keeps from the vCPU.
/// @return whether anything differed
bool from_kvm_sregs(Cpu& cpu, const kvm_sregs& sregs, const SegmentQuirks& quirks);

/// The image holds the SSE registers and the x87 ones in their initial state:
/// x87 instructions are not KVM's to execute.
[[nodiscard]] Vm::FloatingPointImage to_kvm_floating_point(const CpuState& state);
/// Takes the SSE registers.
void from_kvm_floating_point(CpuState& state, const Vm::FloatingPointImage& image);

/// Adds the x87 registers to an image: the cross-check's part. As FXSAVE with
/// REX.W lays them out. Source: SDM vol. 1, "x87 State"
void put_x87(Vm::FloatingPointImage& image, const X87State& x87);
/// The x87 registers of an image, as FXRSTOR would load them.
[[nodiscard]] X87State x87_of(const Vm::FloatingPointImage& image);

/// The model-specific registers that instructions executed by KVM depend on.
[[nodiscard]] std::vector<kvm_msr_entry> to_kvm_msrs(const CpuState& state);

/// CPUID as the machine's processor has it, less what this host cannot do.
[[nodiscard]] std::vector<kvm_cpuid_entry2> guest_cpuid(
    const std::vector<kvm_cpuid_entry2>& supported);

/// Names of the machine's CPU features that this KVM does not offer; the soft
/// processor executes the instructions that need them.
[[nodiscard]] std::vector<std::string> missing_features(
    const std::vector<kvm_cpuid_entry2>& supported);

}  // namespace chronovisor::kvm
