// Owns far JMP and CALL in every mode: code segments, call gates, task gates
// and TSSs. Far returns are in far_return.cpp. One thread a machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor {

/// A far pointer and the operand size in bytes it was given with.
struct FarPointer {
  std::uint16_t selector = 0;
  std::uint64_t offset = 0;
  unsigned size = 4;
};

void far_jump(Cpu& cpu, const FarPointer& target);
void far_call(Cpu& cpu, const FarPointer& target);

/// True when `rip` may be executed in the segment: canonical, or within limit.
[[nodiscard]] bool valid_target(const Cpu& cpu, const Descriptor& code, std::uint64_t rip);

/// Loads CS (RPL := cpl), RIP and CPL, and tells the CPU.
void enter_code(Cpu& cpu, const Descriptor& code, std::uint16_t selector, unsigned cpl,
                std::uint64_t rip);

}  // namespace chronovisor
