// Owns the making of an ELF file of symbols that debuggers load, with unwind
// information where the kernel carries any. Knows no machine. Pure; any thread.
// Source: System V ABI, "Object Files"; DWARF 4, 6.4, "Call Frame Information".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "inspect/linux/kallsyms.h"

namespace chronovisor::linux_guest {

/// A range of addresses in which all symbols are code, or none.
struct SymbolRegion {
  std::string name;  ///< of the section: ".text"
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  bool code = false;
};

/// An ELF64 executable without contents: sections for the regions, a symbol
/// table, and `frames` as .debug_frame unless empty. Symbols outside every
/// region become absolute.
[[nodiscard]] Bytes make_symbol_file(std::vector<KernelSymbol> symbols,
                                     const std::vector<SymbolRegion>& regions, ByteView frames);

/// The regions of a kernel, by the symbols that bound its sections.
[[nodiscard]] std::vector<SymbolRegion> kernel_regions(const std::vector<KernelSymbol>& symbols);

}  // namespace chronovisor::linux_guest
