// Owns the page walk of every paging mode, as one pure function: it reads entries
// by a function it is given, shows each to a visitor, and says where the walk
// ends. It sets no bits, checks no permissions and raises nothing. The
// processor, the debugger, the monitor and the reading of Linux all walk by it.
// Source: SDM vol. 3A, chapter "Paging". Any thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor {

/// Bits of an entry, in tables of every kind.
enum PageTableBit : std::uint64_t {
  kPtePresent = 1U << 0,
  kPteWritable = 1U << 1,
  kPteUser = 1U << 2,
  kPteAccessed = 1U << 5,
  kPteDirty = 1U << 6,
  kPteLarge = 1U << 7,
  kPteNoExecute = 1ULL << 63,
};
/// The address in an 8-byte entry or CR3: MAXPHYADDR is 40.
inline constexpr std::uint64_t kPhysicalPageMask = 0x000000fffffff000ULL;
inline constexpr std::uint64_t kPhysicalPageMask32 = 0xfffff000U;
inline constexpr std::uint64_t kReservedPhysicalBits = 0x000fff0000000000ULL;  // bits 51:40
/// Where CR3 has the four directory pointers of PAE paging.
inline constexpr std::uint64_t kPdpteTableMask = 0xffffffe0U;

constexpr bool canonical_address(std::uint64_t address) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
}

enum class PagingKind : std::uint8_t {
  off,
  two_levels,   ///< 4-byte entries
  pae,          ///< 8-byte entries below four directory pointers in registers
  four_levels,  ///< long mode
};

/// How linear addresses are translated, and where tables begin.
struct Paging {
  PagingKind kind = PagingKind::off;
  bool large_pages = true;  ///< two_levels: CR4.PSE
  bool no_execute = false;  ///< EFER.NXE: bit 63 is not reserved
  std::uint64_t cr3 = 0;
  std::array<std::uint64_t, 4> pdpte{};  ///< pae

  [[nodiscard]] static Paging of(const CpuState& state) {
    Paging paging;
    paging.cr3 = state.cr3;
    paging.no_execute = (state.msr.efer & kEferNxe) != 0;
    if ((state.cr0 & kCr0Pg) == 0) return paging;
    if ((state.cr4 & kCr4Pae) == 0) {
      paging.kind = PagingKind::two_levels;
      paging.large_pages = (state.cr4 & kCr4Pse) != 0;
    } else if ((state.msr.efer & kEferLma) != 0) {
      paging.kind = PagingKind::four_levels;
    } else {
      paging.kind = PagingKind::pae;
      paging.pdpte = state.pdpte;
    }
    return paging;
  }
  /// Bytes of an entry.
  [[nodiscard]] unsigned entry_width() const { return kind == PagingKind::two_levels ? 4 : 8; }
  [[nodiscard]] unsigned top_level() const {
    return kind == PagingKind::four_levels ? 4 : (kind == PagingKind::pae ? 3 : 2);
  }
};

/// One entry on the way. Level 1 is the page table, 4 the PML4.
struct PageTableEntry {
  unsigned level = 0;
  unsigned slot = 0;
  std::uint64_t place = 0;   ///< physical address of the entry
  std::uint64_t value = 0;   ///< as it was read
  bool in_register = false;  ///< a directory pointer of PAE: `place` is where CR3 got it from
};

enum class WalkEnd : std::uint8_t {
  mapped,
  not_canonical,
  unreadable,   ///< an entry lies where `read` finds nothing
  not_present,  ///< an entry has P = 0
  reserved,     ///< an entry has a reserved bit set
};

struct Walk {
  WalkEnd end = WalkEnd::not_present;
  GuestPhysical physical;        ///< mapped: where the byte lies
  std::uint64_t page_bytes = 0;  ///< mapped: size of the page
  unsigned level = 0;            ///< of the last entry
  bool user = true;              ///< AND of the U/S bits
  bool writable = true;          ///< AND of the R/W bits
  bool no_execute = false;       ///< OR of the XD bits
  bool all_accessed = true;      ///< AND of the A bits
};

namespace page_walk {

/// Whether `entry` sets a bit that its kind of table reserves.
inline bool reserved_bits_set(const Paging& paging, std::uint64_t entry, unsigned level,
                              bool large) {
  if (paging.kind == PagingKind::two_levels) return large && (entry & (1U << 21)) != 0;
  std::uint64_t reserved = kReservedPhysicalBits;
  if (paging.kind == PagingKind::pae) reserved |= 0x7ff0000000000000ULL;
  if (!paging.no_execute) reserved |= kPteNoExecute;
  if (large && level == 4) reserved |= kPteLarge;
  if (large && level < 4) reserved |= ((1ULL << (12 + 9 * (level - 1))) - 1) & ~0x1fffULL;
  return (entry & reserved) != 0;
}

/// The physical address of `linear` in the page that `entry` maps.
inline GuestPhysical in_page(const Paging& paging, std::uint64_t entry, std::uint64_t linear,
                             std::uint64_t page_bytes) {
  const std::uint64_t inside = page_bytes - 1;
  if (paging.kind != PagingKind::two_levels) {
    return {(entry & kPhysicalPageMask & ~inside) | (linear & inside)};
  }
  std::uint64_t frame = entry & kPhysicalPageMask32 & ~inside;
  // PSE-36: bits 39:32 of a 4 MiB page are in 20:13.
  if (page_bytes > kPageSize) frame |= (entry & 0x1fe000U) << 19;
  return {frame | (linear & inside)};
}

}  // namespace page_walk

/// Walks from the top for `linear`.
/// @param read   bool(GuestPhysical place, unsigned bytes, std::uint64_t& entry)
/// @param visit  void(const PageTableEntry&), for each entry that was read, in order
template <class Read, class Visit>
[[nodiscard]] inline Walk walk_pages(const Paging& paging, GuestLinear address, Read&& read,
                                     Visit&& visit) {
  const std::uint64_t linear = address.value;
  Walk walk;
  if (paging.kind == PagingKind::off) {
    return {WalkEnd::mapped, {linear}, kPageSize, 0};
  }
  const bool narrow = paging.kind == PagingKind::two_levels;
  const unsigned width = narrow ? 4 : 8;
  const unsigned index_bits = narrow ? 10 : 9;
  std::uint64_t table = paging.cr3 & (narrow ? kPhysicalPageMask32 : kPhysicalPageMask);
  unsigned level = narrow ? 2 : 4;
  if (paging.kind == PagingKind::four_levels) {
    if (!canonical_address(linear)) {
      walk.end = WalkEnd::not_canonical;
      return walk;
    }
  } else if (paging.kind == PagingKind::pae) {
    const auto slot = static_cast<unsigned>(linear >> 30) & 3;
    const std::uint64_t pointer = paging.pdpte[slot];
    visit(PageTableEntry{3, slot, (paging.cr3 & kPdpteTableMask) + slot * 8, pointer, true});
    walk.level = 3;
    if ((pointer & kPtePresent) == 0) return walk;
    table = pointer & kPhysicalPageMask;
    level = 2;
  }
  while (true) {
    walk.level = level;
    const unsigned shift = 12 + index_bits * (level - 1);
    PageTableEntry entry;
    entry.level = level;
    entry.slot = static_cast<unsigned>(linear >> shift) & ((1U << index_bits) - 1);
    entry.place = table + entry.slot * width;
    if (!read(GuestPhysical{entry.place}, width, entry.value)) {
      walk.end = WalkEnd::unreadable;
      return walk;
    }
    visit(static_cast<const PageTableEntry&>(entry));
    if ((entry.value & kPtePresent) == 0) return walk;
    walk.user = walk.user && (entry.value & kPteUser) != 0;
    walk.writable = walk.writable && (entry.value & kPteWritable) != 0;
    walk.all_accessed = walk.all_accessed && (entry.value & kPteAccessed) != 0;
    const bool large = level > 1 && (entry.value & kPteLarge) != 0 && paging.large_pages;
    if (page_walk::reserved_bits_set(paging, entry.value, level, large)) {
      walk.end = WalkEnd::reserved;
      return walk;
    }
    walk.no_execute = walk.no_execute || (!narrow && (entry.value & kPteNoExecute) != 0);
    if (level == 1 || large) {
      walk.end = WalkEnd::mapped;
      walk.page_bytes = 1ULL << shift;
      walk.physical = page_walk::in_page(paging, entry.value, linear, walk.page_bytes);
      return walk;
    }
    table = entry.value & (narrow ? kPhysicalPageMask32 : kPhysicalPageMask);
    --level;
  }
}

}  // namespace chronovisor
