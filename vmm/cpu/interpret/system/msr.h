// Owns the model-specific registers: which exist, what may be written to them
// and what a write brings with it. The local APIC's are asked of the
// environment. docs/CPU.md lists them. One thread a machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// The guest's time stamp counter now.
[[nodiscard]] std::uint64_t time_stamp_counter(Cpu& cpu);

/// RDMSR and WRMSR without the privilege check. An MSR that does not exist, or
/// a value it cannot hold, raises #GP(0).
[[nodiscard]] std::uint64_t read_msr(Cpu& cpu, std::uint32_t index);
void write_msr(Cpu& cpu, std::uint32_t index, std::uint64_t value);

}  // namespace chronovisor
