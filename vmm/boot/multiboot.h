// Owns the multiboot 1 protocol. Plain functions; one thread a machine.
// Source: Multiboot Specification version 0.6.96.
#pragma once

#include "vmm/boot/boot.h"
#include "vmm/boot/boot_state.h"
#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

/// True when a valid multiboot 1 header lies in the first 8 KiB of the file.
bool has_multiboot_header(const Image& image);

/// Loads the kernel by its header's address fields or as ELF (32 or 64 bit), the
/// modules behind it on page boundaries, and enters it in 32-bit protected mode
/// with eax and ebx as the specification says. The command line and the modules'
/// strings are passed word for word, without file names. A wish for a video mode
/// is not granted: there is no display, and the information's flags say so.
BootCpuState load_multiboot(MemoryPlan& plan, const Image& image, const BootRequest& request);

}  // namespace chronovisor
