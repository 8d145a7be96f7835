// The page walk of every paging mode, and the rule that keeps the TLB
// invisible: a page that served as a page table is marked, and a write to it
// drops what was derived from the changed entries.
// Source: SDM vol. 3A, chapter "Paging".
#include <array>

#include "vmm/cpu/cpu.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirtyBit = 0x40;
constexpr std::uint64_t kLarge = 0x80, kNoExecute = 1ULL << 63;
constexpr std::uint64_t kAddressMask = 0x000000fffffff000ULL;   // MAXPHYADDR 40
constexpr std::uint64_t kReservedHigh = 0x000fff0000000000ULL;  // bits 51:40

constexpr std::uint32_t kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4, kErrorReserved = 8,
                        kErrorFetch = 16;

}  // namespace

/// One walk in progress. Level 1 is the page table, 4 the PML4.
struct Cpu::PageWalk {
  unsigned entry_width = 8;
  std::array<std::uint64_t, 5> entry_address{};  ///< physical, by level
  std::array<std::uint64_t, 5> entry{};
  unsigned top = 4;      ///< highest level whose entries have A bits
  bool user = true;      ///< AND of the U/S bits
  bool writable = true;  ///< AND of the R/W bits
  bool no_execute = false;
  std::uint32_t error_base = 0;  ///< W, U and I bits of the error code
};

std::uint64_t Cpu::read_table_entry(PageWalk& walk, unsigned level) {
  const std::uint64_t address = walk.entry_address[level];
  std::uint64_t entry = 0;
  read_physical(address, reinterpret_cast<std::uint8_t*>(&entry), walk.entry_width);
  if (const auto offset = ram_.offset_of({address}); offset) {
    mark_table_page(*offset / kPageSize, level == 1);
  }
  walk.entry[level] = entry;
  return entry;
}

void Cpu::set_table_bits(const PageWalk& walk, unsigned level, std::uint64_t bits) {
  if ((walk.entry[level] & bits) == bits) return;
  const auto offset = ram_.offset_of({walk.entry_address[level]});
  if (!offset) return;
  const std::uint64_t page = *offset / kPageSize;
  std::uint64_t entry = walk.entry[level] | bits;
  if ((ram_.use(page) & kPageHasCode) != 0) before_write_to_used_page(*offset, walk.entry_width);
  ram_.mark_dirty(page);
  std::memcpy(ram_.host(*offset), &entry, walk.entry_width);
}

void Cpu::mark_table_page(std::uint64_t page, bool leaf) {
  PageMark& mark = page_marks_[page];
  std::uint32_t& epoch = leaf ? mark.leaf_table : mark.upper_table;
  if (epoch == tlb_epoch_) return;
  const bool first = mark.leaf_table != tlb_epoch_ && mark.upper_table != tlb_epoch_;
  epoch = tlb_epoch_;
  ram_.add_use(page, kPageHasTables);
  if (first && mark.write_tagged == tlb_epoch_) drop_write_tags_of(page);
}

/// Bytes of a page that served as a table since the last flush are about to
/// change: drops every translation that could have come from them.
void Cpu::table_page_written(std::uint64_t offset, std::uint64_t size) {
  const PageMark& mark = page_marks_[offset / kPageSize];
  const bool wide = (state.cr4 & kCr4Pae) != 0 || long_mode_active();
  const std::uint64_t entry_size = wide ? 8 : 4;
  const std::uint64_t entries = kPageSize / entry_size;
  const std::uint64_t first = (offset & ~kPageMask) / entry_size;
  const std::uint64_t last = ((offset & ~kPageMask) + size - 1) / entry_size;
  // Nothing is ever derived from an entry that is not present.
  bool any_present = false;
  for (std::uint64_t entry = first; entry <= last; ++entry) {
    any_present =
        any_present || (*ram_.host((offset & kPageMask) + entry * entry_size) & kPresent) != 0;
  }
  if (!any_present) return;
  if (mark.upper_table == tlb_epoch_) {
    flush_tlb();
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
  if (code) {
    forget_jumps();
    leave_block();
  }
}

Cpu::Translation Cpu::finish_walk(PageWalk& walk, unsigned level, std::uint64_t address,
                                  Access access, TlbContext context) {
  const bool user_access = context == TlbContext::user;
  bool allowed = true;
  if (user_access) {
    allowed = walk.user && (access != Access::write || walk.writable);
  } else {
    if (access == Access::write && !walk.writable && (state.cr0 & kCr0Wp) != 0) allowed = false;
    if (walk.user) {
      if (access == Access::execute) {
        if ((state.cr4 & kCr4Smep) != 0) allowed = false;
      } else if ((state.cr4 & kCr4Smap) != 0 && context != TlbContext::supervisor_ac) {
        allowed = false;
      }
    }
  }
  if (access == Access::execute && walk.no_execute) allowed = false;
  if (!allowed) raise_page_fault(address, walk.error_base | kErrorPresent);

  for (unsigned l = walk.top; l > level; --l) set_table_bits(walk, l, kAccessed);
  set_table_bits(walk, level, access == Access::write ? kAccessed | kDirtyBit : kAccessed);

  Translation result;
  const std::uint64_t entry = walk.entry[level];
  if (walk.entry_width == 4) {
    if (level == 2) {  // 4 MiB page; PSE-36 puts bits 39:32 in 20:13
      result.physical_page =
          (entry & 0xffc00000U) | ((entry & 0x1fe000U) << 19) | (address & 0x3ff000U);
    } else {
      result.physical_page = entry & 0xfffff000U;
    }
  } else {
    const std::uint64_t page_bits = (1ULL << (12 + 9 * (level - 1))) - 1;
    result.physical_page = (entry & kAddressMask & ~page_bits) | (address & page_bits & kPageMask);
  }
  result.writable = access == Access::write;
  return result;
}

Cpu::Translation Cpu::walk(std::uint64_t address, Access access, TlbContext context) {
  ++counters_.page_walks;
  const bool nxe = (state.msr.efer & kEferNxe) != 0;
  PageWalk walk;
  walk.error_base = (access == Access::write ? kErrorWrite : 0U) |
                    (context == TlbContext::user ? kErrorUser : 0U);
  const bool pae = (state.cr4 & kCr4Pae) != 0;
  if (access == Access::execute && ((pae && nxe) || (state.cr4 & kCr4Smep) != 0)) {
    walk.error_base |= kErrorFetch;
  }
  const auto not_present = [&] { raise_page_fault(address, walk.error_base); };
  const auto reserved = [&] {
    raise_page_fault(address, walk.error_base | kErrorPresent | kErrorReserved);
  };

  std::uint64_t table = 0;
  unsigned level = 4;
  if (!pae) {
    walk.entry_width = 4;
    walk.top = level = 2;
    table = state.cr3 & 0xfffff000U;
  } else if (long_mode_active()) {
    table = state.cr3 & kAddressMask;
  } else {
    walk.top = level = 2;
    const std::uint64_t pdpte = state.pdpte[(address >> 30) & 3];
    if ((pdpte & kPresent) == 0) not_present();
    table = pdpte & kAddressMask;
  }
  while (true) {
    const unsigned bits = walk.entry_width == 4 ? 10 : 9;
    const std::uint64_t slot = (address >> (12 + bits * (level - 1))) & ((1U << bits) - 1);
    walk.entry_address[level] = table + slot * walk.entry_width;
    const std::uint64_t entry = read_table_entry(walk, level);
    if ((entry & kPresent) == 0) not_present();
    walk.user = walk.user && (entry & kUser) != 0;
    walk.writable = walk.writable && (entry & kWritable) != 0;
    bool large = level > 1 && (entry & kLarge) != 0;
    if (walk.entry_width == 4) {
      large = large && (state.cr4 & kCr4Pse) != 0;
      if (large && (entry & (1U << 21)) != 0) reserved();
    } else {
      if ((entry & kReservedHigh) != 0) reserved();
      if (!long_mode_active() && (entry & 0x7ff0000000000000ULL) != 0) reserved();
      if ((entry & kNoExecute) != 0) {
        if (!nxe) reserved();
        walk.no_execute = true;
      }
      if (large && level == 4) reserved();
      if (large) {
        const std::uint64_t low = ((1ULL << (12 + 9 * (level - 1))) - 1) & ~0x1fffULL;
        if ((entry & low) != 0) reserved();
      }
    }
    if (level == 1 || large) return finish_walk(walk, level, address, access, context);
    table = walk.entry_width == 4 ? entry & 0xfffff000U : entry & kAddressMask;
    --level;
  }
}

Cpu::Translation Cpu::translate(std::uint64_t address, Access access, TlbContext context,
                                unsigned segment) {
  if (long64() || long_mode_active()) {
    if (!canonical(address)) raise(segment == kSs ? kStackFault : kGeneralProtection, 0);
  }
  if ((state.cr0 & kCr0Pg) == 0) return {address & kPageMask, true};
  return walk(address, access, context);
}

void Cpu::load_pdptes(std::uint64_t cr3) {
  std::array<std::uint64_t, 4> entries{};
  read_physical(cr3 & 0xffffffe0U, reinterpret_cast<std::uint8_t*>(entries.data()),
                sizeof(entries));
  for (const std::uint64_t entry : entries) {
    if ((entry & kPresent) != 0 && (entry & (0xffffff00000001e6ULL)) != 0) raise_gp0();
  }
  state.pdpte = entries;
}

void Cpu::flush_tlb() {
  for (Tlb& tlb : *tlbs_) {
    if (!tlb.used) continue;
    tlb.data.fill(TlbEntry{});
    tlb.code.fill(ExecuteTag{});
    tlb.used = false;
  }
  if (++tlb_epoch_ == 0) {  // the counter wrapped: old marks would look new
    for (PageMark& mark : page_marks_) mark = PageMark{};
    tlb_epoch_ = 1;
  }
  forget_jumps();
  leave_block();
}

void Cpu::flush_tlb_page(std::uint64_t linear) {
  // Coherent tables make INVLPG a formality; dropping the one slot is enough.
  for (Tlb& tlb : *tlbs_) {
    tlb.data[tlb_index(linear)] = TlbEntry{};
    tlb.code[tlb_index(linear)] = ExecuteTag{};
  }
  forget_jumps();
  leave_block();
}

std::optional<GuestPhysical> Cpu::translate_for_debugger(std::uint64_t linear) const {
  bool accessed = true;
  return walk_for_debugger(linear, accessed);
}

bool Cpu::accessed_throughout(std::uint64_t linear) const {
  bool accessed = true;
  return walk_for_debugger(linear, accessed).has_value() && accessed;
}

std::optional<GuestPhysical> Cpu::walk_for_debugger(std::uint64_t linear, bool& accessed) const {
  if ((state.cr0 & kCr0Pg) == 0) return GuestPhysical{linear};
  const bool pae = (state.cr4 & kCr4Pae) != 0;
  const unsigned width = pae ? 8 : 4;
  const unsigned bits = pae ? 9 : 10;
  unsigned level = pae && long_mode_active() ? 4 : 2;
  std::uint64_t table = state.cr3 & (pae ? kAddressMask : 0xfffff000U);
  if (long_mode_active() && !canonical(linear)) return std::nullopt;
  if (pae && !long_mode_active()) {
    const std::uint64_t pdpte = state.pdpte[(linear >> 30) & 3];
    if ((pdpte & kPresent) == 0) return std::nullopt;
    table = pdpte & kAddressMask;
  }
  while (true) {
    const std::uint64_t slot = (linear >> (12 + bits * (level - 1))) & ((1U << bits) - 1);
    std::uint64_t entry = 0;
    std::array<std::uint8_t, 8> raw{};
    if (ram_.read({table + slot * width}, std::span(raw).first(width)) != width)
      return std::nullopt;
    std::memcpy(&entry, raw.data(), sizeof(entry));
    if ((entry & kPresent) == 0) return std::nullopt;
    accessed = accessed && (entry & kAccessed) != 0;
    const bool large = level > 1 && (entry & kLarge) != 0 && (pae || (state.cr4 & kCr4Pse) != 0);
    if (level == 1 || large) {
      const std::uint64_t mask = (1ULL << (12 + bits * (level - 1))) - 1;
      std::uint64_t frame = entry & (pae ? kAddressMask : 0xfffff000U);
      if (!pae && large) frame |= (entry & 0x1fe000U) << 19;
      return GuestPhysical{(frame & ~mask) | (linear & mask)};
    }
    table = entry & (pae ? kAddressMask : 0xfffff000U);
    --level;
  }
}

}  // namespace chronovisor
