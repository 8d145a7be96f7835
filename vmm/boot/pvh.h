// Owns the PVH entry protocol for ELF kernels. Plain functions; one thread a
// machine.
// Source: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
#pragma once

#include "vmm/boot/boot.h"
#include "vmm/boot/boot_state.h"
#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

/// Loads an ELF vmlinux and enters it at the address its PVH note
/// (XEN_ELFNOTE_PHYS32_ENTRY) gives, in 32-bit protected mode without paging and
/// with ebx at the hvm_start_info.
BootCpuState load_pvh(MemoryPlan& plan, const Image& image, const BootRequest& request);

}  // namespace chronovisor
