// Owns the listing of what page tables of the guest map: those that the processor uses
// now, or others. The thread that owns the machine.
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/cpu/mmu/page_walk.h"
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

/// How many tables may be looked at. They are the guest's: a few that lead to one another
/// make a tree without end.
struct TableBudget {
  static constexpr std::uint64_t kUsual = std::uint64_t{1} << 18;
  std::uint64_t tables = kUsual;
};

/// Every page that tables map which begin as `paging` says, by linear address, until `see`
/// says no or the budget is used up; it is less what was looked at. Entries outside memory,
/// and those that the processor would not take, map nothing.
void for_each_mapped_page(Machine& machine, const Paging& paging, TableBudget& budget,
                          const std::function<bool(const MappedPage&)>& see);

}  // namespace chronovisor
