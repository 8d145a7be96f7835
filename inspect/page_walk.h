// Owns the way through the guest's page tables as a person looks at it: every
// entry, and where the address lands. The thread that owns the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/machine/machine.h"

namespace chronovisor {

struct PageWalkEntry {
  std::string_view level;  ///< "PML4", "PDPT", "PD", "PT"
  std::uint64_t index = 0;
  std::uint64_t place = 0;             ///< its physical address
  std::optional<std::uint64_t> value;  ///< nothing: outside memory
  std::string flags;                   ///< " present writable ..."
};

struct PageWalk {
  bool paging = true;
  std::vector<PageWalkEntry> entries;
  std::optional<std::uint64_t> physical;
};

/// With PAE outside long mode the topmost entry is the one that the processor holds,
/// which the table in memory may have left behind.
[[nodiscard]] PageWalk walk_pages(Machine& machine, std::uint64_t linear);

}  // namespace chronovisor
