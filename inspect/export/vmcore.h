// Owns the export of a machine's memory and registers as an ELF core file of the
// kind Linux's /proc/vmcore is, for crash, drgn and gdb: ELF64 where the processor
// is in long mode, ELF32 elsewhere. Knows Linux only by its VMCOREINFO note and its
// page tables; any guest gets a core. The machine's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recorder/format/file.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// A PT_LOAD: guest memory at two addresses.
struct CoreSegment {
  std::uint64_t linear = 0;  ///< in an ELF32 core 0xffffffff: no kernel address is known
  std::uint64_t physical = 0;
  std::uint64_t bytes = 0;
};

struct VmcoreFacts {
  std::string vmcoreinfo;  ///< the kernel's own description; empty when none was found
  std::vector<CoreSegment> segments;
  std::uint64_t bytes = 0;
  unsigned bits = 64;  ///< of the ELF file
};

/// Writes the machine as it stands to `file`. `pid` is that of the thread the
/// guest's kernel runs, by which tools tell whose registers these are; 0 when
/// it is not known. Throws Error{host}, and Error{usage} when a 32-bit guest has more
/// memory than an ELF32 file can hold.
VmcoreFacts export_vmcore(Machine& machine, std::uint32_t pid, OutputFile& file);

}  // namespace chronovisor
