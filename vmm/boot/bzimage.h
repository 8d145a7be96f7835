// Owns the Linux 64-bit boot protocol for bzImage files. Plain functions; one
// thread a machine.
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
/// and the zero page, command line, page tables and GDT below the EBDA.
BootCpuState load_bzimage(MemoryPlan& plan, const Image& image, const BootRequest& request);

}  // namespace chronovisor
