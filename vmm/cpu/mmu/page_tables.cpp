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
  if ((ram_.use(page) & kPageWritesToBus) != 0) return;
  if ((ram_.use(page) & kPageHasCode) != 0) client_.before_write_to_used_page(*offset, width);
  std::uint8_t* const place = ram_.host(*offset);
  ram_.mark_dirty(page);
  std::memcpy(place, &changed, width);
}

void Mmu::mark_table_page(std::uint64_t page, std::uint8_t use) {
  PageMark& mark = mark_of(page);
  if ((mark.table & use) == use) return;
  if ((mark.table & kAnyTable) == 0) {
    ram_.add_use(page, kPageHasTables);
    drop_write_tags_of(page);
  }
  mark.table |= use;
}

/// Nothing is derived from it any more: writes of it are nothing special.
void Mmu::unmark_table_page(std::uint64_t page) {
  mark_of(page).table = 0;
  ram_.remove_use(page, kPageHasTables);
}

/// Code was fetched by entry `slot` of the last-level table on RAM page `page`.
void Mmu::note_fetch(std::uint64_t page, unsigned slot) {
  PageMark& mark = mark_of(page);
  CodeEntries& entries = kept_->code_entries[page];
  if ((mark.table & kFetchedFrom) == 0) entries = CodeEntries{};
  mark.table |= kFetchedFrom;
  entries[slot / 64] |= std::uint64_t{1} << (slot % 64);
}

void Mmu::before_write_to_tables(std::uint64_t offset, std::uint64_t size) {
  /// Pages that were tables once would be slow to write for ever.
  constexpr std::uint32_t kWritesBetweenFlushes = 4096;
  const std::uint64_t page = offset / kPageSize;
  const PageMark& mark = page_marks_[page];
  if (mark.epoch != epoch_ || (mark.table & kAnyTable) == 0) {
    ram_.remove_use(page, kPageHasTables);
    return;
  }
  if (++kept_->table_writes > kWritesBetweenFlushes) {
    flush();
    ram_.remove_use(page, kPageHasTables);
    return;
  }
  const bool wide = (state_.cr4 & kCr4Pae) != 0 || long_mode();
  const std::uint64_t entry_size = wide ? 8 : 4;
  const std::uint64_t entries = kPageSize / entry_size;
  const std::uint64_t first = (offset & ~kPageMask) / entry_size;
  const std::uint64_t last = ((offset & ~kPageMask) + size - 1) / entry_size;
  // Nothing is ever derived from an entry that is not present.
  const auto any_present = [&](std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t entry = begin; entry < end; ++entry) {
      if ((*ram_.host((offset & kPageMask) + entry * entry_size) & kPtePresent) != 0) return true;
    }
    return false;
  };
  if (!any_present(first, last + 1)) {
    if (!any_present(0, entries)) unmark_table_page(page);
    return;
  }
  if ((mark.table & kAnyTable) == kRootTable) {
    drop_derived_from_root(page, last >= entries / 2);
  } else if ((mark.table & (kUpperTable | kRootTable)) == 0) {
    drop_derived_from_leaf(page, first, last, entries);
  } else if ((mark.table & (kSystemHalf | kRootTable)) == 0) {
    drop_user_half();
  } else {
    flush();
  }
}

void Mmu::drop_derived_from_leaf(std::uint64_t page, std::uint64_t first, std::uint64_t last,
                                 std::uint64_t entries) {
  for_each_used_table([&](Tlb& table) {
    for (std::uint64_t entry = first; entry <= last; ++entry) {
      for (std::uint64_t slot = entry; slot < kTlbEntries; slot += entries) {
        table.data[slot] = TlbEntry{};
        table.code[slot] = ExecuteTag{};
      }
    }
  });
  const std::uint8_t use = page_marks_[page].table;
  if ((use & kFetchedFrom) == 0) return;
  CodeEntries& fetched = kept_->code_entries[page];
  bool code = false;
  for (std::uint64_t entry = first; entry <= last; ++entry) {
    const std::uint64_t bit = std::uint64_t{1} << (entry % 64);
    code = code || (fetched[entry / 64] & bit) != 0;
    fetched[entry / 64] &= ~bit;
  }
  if (!code) return;
  // A kernel may execute what lies in the lower half, too.
  if ((use & kSystemHalf) != 0 || kept_->user_half_code_in_supervisor) {
    client_.code_translations_dropped();
  } else {
    client_.user_code_translations_dropped();
  }
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
  const auto half = static_cast<std::uint8_t>(in_user_half(address) ? 0 : kSystemHalf);
  UsedEntries used;
  tables_in_ram_ = true;
  const Walk found = walk_pages(
      paging, {address},
      [this](GuestPhysical place, unsigned bytes, std::uint64_t& entry) {
        if (only_refill_ && !ram_.offset_of(place)) return false;
        read_physical(place.value, reinterpret_cast<std::uint8_t*>(&entry), bytes);
        return true;
      },
      [&](const PageTableEntry& entry) {
        if (entry.in_register) return;
        used.entry[entry.level] = entry;
        if (used.top == 0) used.top = entry.level;
        const auto offset = ram_.offset_of({entry.place});
        if (!offset) {
          tables_in_ram_ = false;
          return;
        }
        const std::uint8_t use = entry.level == 1   ? kLeafTable
                                 : entry.level == 4 ? kRootTable
                                                    : kUpperTable;
        mark_table_page(*offset / kPageSize, use | half);
      });

  std::uint32_t error = (access == Access::write ? kErrorWrite : 0U) |
                        (context == TlbContext::user ? kErrorUser : 0U);
  const bool pae = (state_.cr4 & kCr4Pae) != 0;
  if (access == Access::execute && ((pae && paging.no_execute) || (state_.cr4 & kCr4Smep) != 0)) {
    error |= kErrorFetch;
  }
  if (found.end == WalkEnd::unreadable) return false;
  if (found.end == WalkEnd::not_present) return fail(GuestFault::page(address, error));
  error |= kErrorPresent;
  if (found.end == WalkEnd::reserved) {
    return fail(GuestFault::page(address, error | kErrorReserved));
  }
  if (!permitted(found, access, context)) return fail(GuestFault::page(address, error));

  if (only_refill_) {
    for (unsigned level = used.top; level >= found.level; --level) {
      const auto table = ram_.offset_of({used.entry[level].place});
      if ((ram_.use(*table / kPageSize) & kPageHasCode) != 0) return false;
    }
  }
  for (unsigned level = used.top; level > found.level; --level) {
    set_table_bits(used.entry[level], width, kPteAccessed);
  }
  set_table_bits(used.entry[found.level], width,
                 access == Access::write ? kPteAccessed | kPteDirty : kPteAccessed);
  page = found.physical.value & kPageMask;
  if (access == Access::execute && found.level == 1 && tables_in_ram_) {
    note_fetch(*ram_.offset_of({used.entry[1].place}) / kPageSize, used.entry[1].slot);
  }
  return true;
}

/// By an entry of the TLB that says the same as a walk would, and under which there
/// is no bit to set. One that user code or a kernel without AC has serves a kernel with AC.
bool Mmu::translate_by_entry(std::uint64_t address, Access access, TlbContext context,
                             std::uint64_t& page) {
  const auto by = [&](const Tlb& table) {
    const TlbEntry& entry = table.data[tlb_index(address)];
    const std::uint64_t tag = access == Access::write ? entry.dirty_tag : entry.read_tag;
    if (tag != (address & kPageMask)) return false;
    const std::uint64_t host = tag + entry.host_minus_linear;
    page = ram_.physical_of(host - ram_.host_address(0)).value;
    return true;
  };
  if (access == Access::execute) return false;
  return by(tlb(context)) || (context == TlbContext::supervisor_ac &&
                              (by(kept_->supervisor) || by(kept_->space->user)));
}

bool Mmu::translate(std::uint64_t address, Access access, TlbContext context, unsigned segment,
                    std::uint64_t& page) {
  if (long_mode() && !canonical_address(address)) return fail_segment(segment);
  if ((state_.cr0 & kCr0Pg) == 0) {
    page = address & kPageMask;
    tables_in_ram_ = true;
    return true;
  }
  if (translate_by_entry(address, access, context, page)) {
    tables_in_ram_ = true;
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
