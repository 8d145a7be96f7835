// Owns the translation look-aside buffer's storage: for each linear page, tags
// that say which accesses may go straight to host memory. It is a cache only
// and never guest-visible: every entry is dropped the moment the page tables
// it came from change (see Mmu), so a machine restored with an empty TLB and
// one that ran on behave alike.
//
// What user code and user data are reached by is kept for each of the address spaces
// that ran last; what the kernel's half is reached by, once for all of them.
//
// A write tag is there only if the page is already marked dirty in this epoch,
// D is set in its page table entry, and no code, page table or watchpoint lies
// on it. One thread a machine.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "vmm/cpu/state/mode.h"

namespace chronovisor {

/// Which permission world an entry was made for.
enum class TlbContext : std::uint8_t {
  supervisor,     ///< CPL < 3, user pages not accessible when SMAP is on
  supervisor_ac,  ///< CPL < 3 with EFLAGS.AC = 1: SMAP does not apply
  user,           ///< CPL 3
  no_fast_path,   ///< alignment checks on: its entries are never filled
};

/// 32 bytes, so that emitted code finds one by a shift and a mask.
struct alignas(32) TlbEntry {
  static constexpr std::uint64_t kInvalid = 1;  // never equal to a page address
  std::uint64_t read_tag = kInvalid;            ///< linear page address
  std::uint64_t write_tag = kInvalid;
  std::uint64_t host_minus_linear = 0;  ///< host address = linear + this
  /// Writes are permitted and D is set, whatever keeps them off the fast path.
  std::uint64_t dirty_tag = kInvalid;
};

/// Execute tags are kept apart, so that data does not push code out.
struct ExecuteTag {
  std::uint64_t tag = TlbEntry::kInvalid;  ///< linear page address
  std::uint64_t ram_page_offset = 0;       ///< RAM offset of the page
};

inline constexpr std::size_t kTlbEntries = 1024;
struct Tlb {
  std::array<TlbEntry, kTlbEntries> data;
  std::array<ExecuteTag, kTlbEntries> code;
  bool used = false;  ///< has held an entry since the last clear()

  void clear() {
    if (!used) return;
    data.fill(TlbEntry{});
    code.fill(ExecuteTag{});
    used = false;
  }
};

/// The tables of one address space that depend on its own half.
struct AddressSpace {
  std::uint64_t root = ~std::uint64_t{0};  ///< physical address of its top table
  std::array<std::uint64_t, 4> pdpte{};    ///< PAE: what was in the registers
  std::uint64_t entered = 0;               ///< when it was, by a count of entries into any
  Tlb user;
  Tlb supervisor_ac;

  void clear() {
    user.clear();
    supervisor_ac.clear();
  }
};

inline std::size_t tlb_index(std::uint64_t linear) { return (linear >> 12) & (kTlbEntries - 1); }

}  // namespace chronovisor
