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

struct ShownPageEntry {
  std::string_view level;  ///< "PML4", "PDPT", "PD", "PT"
  std::uint64_t index = 0;
  std::uint64_t place = 0;   ///< its physical address
  bool in_register = false;  ///< of PAE: `place` is where CR3 got it from
  std::uint64_t value = 0;
  std::string flags;  ///< " present writable ..."
};

struct ShownPageWalk {
  bool paging = true;
  std::vector<ShownPageEntry> entries;
  std::optional<std::uint64_t> physical;
  std::string trouble;  ///< why it ends before: "is not mapped", "is not canonical" ...
};

/// The walk that the processor would do now, for `linear`.
[[nodiscard]] ShownPageWalk show_page_walk(Machine& machine, GuestLinear linear);

}  // namespace chronovisor
