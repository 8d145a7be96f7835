// Owns the loading of flat binaries, entered in real mode as a BIOS enters a
// boot sector. Plain function; one thread a machine.
#pragma once

#include "vmm/boot/boot.h"
#include "vmm/boot/boot_state.h"
#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

/// Puts the whole file at `address` and enters its first byte in real mode:
/// CS:IP is 0:address below 64 KiB, else (address >> 4):(address & 15); DL is
/// 0x80, interrupts are off, and every interrupt vector points to an IRET, since
/// there is no BIOS to answer.
BootCpuState load_flat(MemoryPlan& plan, const Image& image, std::uint64_t address);

}  // namespace chronovisor
