// Owns the CPU states that the boot protocols share: flat segments with a GDT
// that says the same. Knows no image format. Plain functions; any thread.
#pragma once

#include "vmm/boot/boot_state.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

inline constexpr std::uint16_t kBootCodeSelector = 0x10;  ///< __BOOT_CS of Linux
inline constexpr std::uint16_t kBootDataSelector = 0x18;  ///< __BOOT_DS of Linux
inline constexpr std::uint16_t kBootTaskSelector = 0x20;

/// The 8-byte descriptor that loads as `segment`; of a system segment in long
/// mode, its lower half.
/// Source: Intel SDM vol. 3A, 3.4.5 "Segment Descriptors".
std::uint64_t encode_descriptor(const BootSegment& segment);

/// Protected mode without paging, interrupts off, segments of 4 GiB from 0, and
/// a GDT that is placed in low memory by `plan`.
BootCpuState flat_protected_state(MemoryPlan& plan);

/// Long mode with the first 4 GiB mapped one to one, interrupts off; the GDT and
/// page tables are placed in low memory by `plan`.
BootCpuState identity_long_state(MemoryPlan& plan);

}  // namespace chronovisor
