// Owns far RET and IRET in every mode. Operand sizes are in bytes. One thread a
// machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// RETF: pops RIP and CS, releases `release_bytes` of parameters (on both
/// stacks when the privilege changes).
void far_return(Cpu& cpu, unsigned size, std::uint16_t release_bytes);

/// IRET. Unblocks NMIs first, even if it faults, as Intel processors do.
void interrupt_return(Cpu& cpu, unsigned size);

}  // namespace chronovisor
