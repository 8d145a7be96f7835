#include "inspect/guest_memory_map.h"

#include <array>
#include <cstddef>
#include <cstring>

namespace chronovisor {
namespace {

constexpr std::uint64_t kAllRights = kPteWritable | kPteUser;

class Walker {
 public:
  Walker(Machine& machine, const Paging& paging, TableBudget& budget,
         const std::function<bool(const MappedPage&)>& see)
      : machine_(machine), paging_(paging), budget_(budget), see_(see) {}

  void walk() {
    switch (paging_.kind) {
      case PagingKind::off:
        break;
      case PagingKind::four_levels:
        (void)table(paging_.cr3 & kPhysicalPageMask, 4, 0, kAllRights);
        break;
      case PagingKind::pae:
        // The processor goes by the four pointers that it holds.
        for (std::size_t n = 0; n < paging_.pdpte.size(); ++n) {
          const std::uint64_t pointer = paging_.pdpte[n];
          if ((pointer & kPtePresent) == 0) continue;
          if (!table(pointer & kPhysicalPageMask, 2, std::uint64_t{n} << 30, kAllRights)) break;
        }
        break;
      case PagingKind::two_levels:
        (void)table(paging_.cr3 & kPhysicalPageMask32, 2, 0, kAllRights);
        break;
    }
  }

 private:
  /// @param rights that the entries above give
  /// @return false when no more is to be seen
  bool table(std::uint64_t at, unsigned level, std::uint64_t linear, std::uint64_t rights) {
    if (budget_.tables == 0) return false;
    --budget_.tables;
    const bool narrow = paging_.kind == PagingKind::two_levels;
    const unsigned width = paging_.entry_width();
    const unsigned index_bits = narrow ? 10 : 9;
    std::array<std::uint8_t, kPageSize> raw{};
    if (machine_.ram().read({at}, raw) < raw.size()) return true;
    const unsigned shift = 12 + index_bits * (level - 1);
    for (std::uint64_t n = 0; n < (1ULL << index_bits); ++n) {
      std::uint64_t entry = 0;
      std::memcpy(&entry, raw.data() + n * width, width);
      if ((entry & kPtePresent) == 0) continue;
      const bool large = level > 1 && (entry & kPteLarge) != 0 && paging_.large_pages;
      if (page_walk::reserved_bits_set(paging_, entry, level, large)) continue;
      std::uint64_t here = linear | n << shift;
      if (level == 4 && n >= 256) here |= 0xffff000000000000ULL;  // canonical
      const std::uint64_t left = rights & entry;
      if (level > 1 && !large) {
        const std::uint64_t next = entry & (narrow ? kPhysicalPageMask32 : kPhysicalPageMask);
        if (!table(next, level - 1, here, left)) return false;
        continue;
      }
      const std::uint64_t size = 1ULL << shift;
      const GuestPhysical physical = page_walk::in_page(paging_, entry, here, size);
      const bool user = (left & kPteUser) != 0;
      const bool writable = (left & kPteWritable) != 0;
      if (!see_({here, physical.value, size, entry, user, writable})) return false;
    }
    return true;
  }

  Machine& machine_;
  const Paging& paging_;
  TableBudget& budget_;
  const std::function<bool(const MappedPage&)>& see_;
};

}  // namespace

void for_each_mapped_page(Machine& machine, const Paging& paging, TableBudget& budget,
                          const std::function<bool(const MappedPage&)>& see) {
  Walker(machine, paging, budget, see).walk();
}

}  // namespace chronovisor
