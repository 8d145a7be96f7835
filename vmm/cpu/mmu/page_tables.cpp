// Translation by page tables, and the rule that keeps the TLB invisible: a page
// that served as a page table is marked, and a write to it drops what was derived
// from the changed entries.
// Source: SDM vol. 3A, chapter "Paging".
#include <array>

#include "vmm/cpu/mmu/mmu.h"

namespace chronovisor {
namespace {

/// Bits of the error code of a page fault.
constexpr std::uint32_t kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4, kErrorReserved = 8,
                        kErrorFetch = 16;
/// Bits that must be 0 in a PAE directory pointer.
constexpr std::uint64_t kPdpteReserved = 0xffffff00000001e6ULL;

}  // namespace

/// The entries in memory that a walk used, by level.
struct Mmu::UsedEntries {
  std::array<PageTableEntry, 5> entry{};
  unsigned top = 0;
};

void Mmu::set_table_bits(const PageTableEntry& entry, unsigned width, std::uint64_t bits) {
  if ((entry.value & bits) == bits) return;
  const auto offset = ram_.offset_of({entry.place});
  if (!offset) return;
  const std::uint64_t page = *offset / kPageSize;
  const std::uint64_t changed = entry.value | bits;
  if ((ram_.use(page) & kPageHasCode) != 0) client_.before_write_to_used_page(*offset, width);
  ram_.mark_dirty(page);
  std::memcpy(ram_.host(*offset), &changed, width);
}

void Mmu::mark_table_page(std::uint64_t page, bool leaf) {
  PageMark& mark = page_marks_[page];
  std::uint32_t& epoch = leaf ? mark.leaf_table : mark.upper_table;
  if (epoch == epoch_) return;
  const bool first = mark.leaf_table != epoch_ && mark.upper_table != epoch_;
  epoch = epoch_;
  ram_.add_use(page, kPageHasTables);
  if (first && mark.write_tagged == epoch_) drop_write_tags_of(page);
}

void Mmu::before_write_to_tables(std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t page = offset / kPageSize;
  const PageMark& mark = page_marks_[page];
  if (mark.leaf_table != epoch_ && mark.upper_table != epoch_) {
    ram_.remove_use(page, kPageHasTables);
    return;
  }
  const bool wide = (state_.cr4 & kCr4Pae) != 0 || long_mode();
  const std::uint64_t entry_size = wide ? 8 : 4;
  const std::uint64_t entries = kPageSize / entry_size;
  const std::uint64_t first = (offset & ~kPageMask) / entry_size;
  const std::uint64_t last = ((offset & ~kPageMask) + size - 1) / entry_size;
  // Nothing is ever derived from an entry that is not present.
  bool any_present = false;
  for (std::uint64_t entry = first; entry <= last; ++entry) {
    any_present =
        any_present || (*ram_.host((offset & kPageMask) + entry * entry_size) & kPtePresent) != 0;
  }
  if (!any_present) return;
  if (mark.upper_table == epoch_) {
    flush();
    return;
  }
  bool code = false;
  for (Tlb& tlb : *tlbs_) {
    if (!tlb.used) continue;
    for (std::uint64_t entry = first; entry <= last; ++entry) {
      for (std::uint64_t slot = entry; slot < kTlbEntries; slot += entries) {
        tlb.data[slot] = TlbEntry{};
        code = code || tlb.code[slot].tag != TlbEntry::kInvalid;
        tlb.code[slot].tag = TlbEntry::kInvalid;
      }
    }
  }
  if (code) client_.code_translations_dropped();
}

bool Mmu::permitted(const Walk& walk, Access access, TlbContext context) const {
  if (access == Access::execute && walk.no_execute) return false;
  if (context == TlbContext::user) {
    return walk.user && (access != Access::write || walk.writable);
  }
  if (access == Access::write && !walk.writable && (state_.cr0 & kCr0Wp) != 0) return false;
  if (!walk.user) return true;
  if (access == Access::execute) return (state_.cr4 & kCr4Smep) == 0;
  return (state_.cr4 & kCr4Smap) == 0 || context == TlbContext::supervisor_ac;
}

bool Mmu::walk(std::uint64_t address, Access access, TlbContext context, std::uint64_t& page) {
  ++counters_.page_walks;
  const Paging paging = Paging::of(state_);
  const unsigned width = paging.entry_width();
  UsedEntries used;
  const Walk found = walk_pages(
      paging, {address},
      [this](GuestPhysical place, unsigned bytes, std::uint64_t& entry) {
        read_physical(place.value, reinterpret_cast<std::uint8_t*>(&entry), bytes);
        return true;
      },
      [&](const PageTableEntry& entry) {
        if (entry.in_register) return;
        used.entry[entry.level] = entry;
        if (used.top == 0) used.top = entry.level;
        if (const auto offset = ram_.offset_of({entry.place}); offset) {
          mark_table_page(*offset / kPageSize, entry.level == 1);
        }
      });

  std::uint32_t error = (access == Access::write ? kErrorWrite : 0U) |
                        (context == TlbContext::user ? kErrorUser : 0U);
  const bool pae = (state_.cr4 & kCr4Pae) != 0;
  if (access == Access::execute && ((pae && paging.no_execute) || (state_.cr4 & kCr4Smep) != 0)) {
    error |= kErrorFetch;
  }
  if (found.end == WalkEnd::not_present) return fail(GuestFault::page(address, error));
  error |= kErrorPresent;
  if (found.end == WalkEnd::reserved) {
    return fail(GuestFault::page(address, error | kErrorReserved));
  }
  if (!permitted(found, access, context)) return fail(GuestFault::page(address, error));

  for (unsigned level = used.top; level > found.level; --level) {
    set_table_bits(used.entry[level], width, kPteAccessed);
  }
  set_table_bits(used.entry[found.level], width,
                 access == Access::write ? kPteAccessed | kPteDirty : kPteAccessed);
  page = found.physical.value & kPageMask;
  return true;
}

bool Mmu::translate(std::uint64_t address, Access access, TlbContext context, unsigned segment,
                    std::uint64_t& page) {
  if (long_mode() && !canonical_address(address)) return fail_segment(segment);
  if ((state_.cr0 & kCr0Pg) == 0) {
    page = address & kPageMask;
    return true;
  }
  return walk(address, access, context, page);
}

std::optional<std::array<std::uint64_t, 4>> Mmu::read_pdptes(std::uint64_t cr3) {
  std::array<std::uint64_t, 4> entries{};
  read_physical(cr3 & kPdpteTableMask, reinterpret_cast<std::uint8_t*>(entries.data()),
                sizeof(entries));
  for (const std::uint64_t entry : entries) {
    if ((entry & kPtePresent) != 0 && (entry & kPdpteReserved) != 0) return std::nullopt;
  }
  return entries;
}

}  // namespace chronovisor
