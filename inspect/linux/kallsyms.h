// Owns the reading of the symbol table that a Linux kernel carries for itself.
// Works on the bytes of a kernel image, as a file holds them or as a guest has
// them in memory. Untrusted input. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace chronovisor::linux_guest {

struct KernelSymbol {
  std::uint64_t address = 0;
  char type = 0;  ///< as nm(1) has it
  std::string name;
};

/// The symbols in the table's order, which is by address. `image` must keep the
/// distances of the image's virtual addresses. In guest memory the addresses
/// are those of where the kernel really is. Throws Error{bad_input}.
/// Source: Linux, scripts/kallsyms.c and kernel/kallsyms.c, 6.1 to 6.12.
[[nodiscard]] std::vector<KernelSymbol> read_kallsyms(ByteView image);

}  // namespace chronovisor::linux_guest
