// Owns the Linux boot protocol for bzImage files, entered at their 64-bit entry
// point or, where they have none, at the 32-bit one. Plain functions; one thread a
// machine.
// Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst.
#pragma once

#include "vmm/boot/boot.h"
#include "vmm/boot/boot_state.h"
#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

/// True when the file has the setup header's magic.
bool is_bzimage(const Image& image);

/// Loads the kernel at its preferred address, the initrd as high as it may go
/// and the zero page, command line, page tables and GDT below the EBDA. A kernel
/// with a 64-bit entry point starts in long mode, any other in protected mode
/// without paging.
BootCpuState load_bzimage(MemoryPlan& plan, const Image& image, const BootRequest& request);

}  // namespace chronovisor
