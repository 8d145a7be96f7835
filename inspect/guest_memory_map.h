// Owns the listing of what the guest's page tables map. The thread that owns the
// machine.
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/machine/machine.h"

namespace chronovisor {

/// One page, of whatever size, as the lowest entry has it.
struct MappedPage {
  std::uint64_t linear = 0;
  std::uint64_t physical = 0;
  std::uint64_t size = 0;
  std::uint64_t entry = 0;  ///< the lowest entry
  bool user = false;        ///< by the entries of all levels
  bool writable = false;
};

/// Every page that is mapped, by linear address, until `see` says no. Entries
/// outside memory map nothing.
void for_each_mapped_page(Machine& machine, const std::function<bool(const MappedPage&)>& see);

}  // namespace chronovisor
