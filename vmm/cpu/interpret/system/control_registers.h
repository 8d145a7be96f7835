// Owns the rules of CR0, CR3, CR4 and EFER: reserved bits, which combinations
// fault, and what a change brings with it. One thread a machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/state/msr.h"

namespace chronovisor {

/// Each raises #GP(0) if the value may not be written now, else does all that
/// the write implies (EFER.LMA, PDPTEs, TLB, mode). Source: SDM vol. 3A,
/// "Control Registers" and "Initializing IA-32e Mode".
void write_cr0(Cpu& cpu, std::uint64_t value);
void write_cr3(Cpu& cpu, std::uint64_t value);
void write_cr4(Cpu& cpu, std::uint64_t value);
void write_efer(Cpu& cpu, std::uint64_t value);

}  // namespace chronovisor
