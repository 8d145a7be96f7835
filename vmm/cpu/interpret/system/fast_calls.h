// Owns SYSCALL, SYSRET, SYSENTER and SYSEXIT, as Intel processors do them. One
// thread a machine.
#pragma once

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// #UD outside 64-bit mode or with EFER.SCE = 0.
void fast_syscall(Cpu& cpu);
/// `size` 8 returns to 64-bit mode, else to compatibility mode. A RCX that is
/// not canonical is #GP(0) at CPL 0.
void fast_sysret(Cpu& cpu, unsigned size);
void fast_sysenter(Cpu& cpu);
void fast_sysexit(Cpu& cpu, unsigned size);

}  // namespace chronovisor
