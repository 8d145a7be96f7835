// Owns a processor's view of memory: translation with its TLB, permission checks
// of paging, alignment checks, accesses across pages and to devices, and the rule
// that keeps the TLB invisible: a page that served as a page table is marked, and
// a write to it drops what was derived from the changed entries. Segments are the
// processor's. What an access must tell others goes to the MmuClient. Knows no
// instruction. One thread a machine.
//
// A fault is a value: functions that can fault return false (or nothing) and leave
// it in fault(). No guest fault is ever thrown here; what a device throws (Error)
// passes through.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "vmm/cpu/access_watch.h"
#include "vmm/cpu/environment.h"
#include "vmm/cpu/mmu/page_walk.h"
#include "vmm/cpu/mmu/tlb.h"
#include "vmm/cpu/state/access.h"
#include "vmm/cpu/state/fault.h"
#include "vmm/cpu/state/mode.h"
#include "vmm/cpu/state/registers.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

/// What the MMU tells the processor it belongs to.
class MmuClient : public PageUseListener {
 public:
  /// A device was accessed: deadlines and interrupt lines may have changed.
  virtual void device_touched() = 0;
  /// Translations that code is fetched by are gone.
  virtual void code_translations_dropped() = 0;
  /// Those of user code alone, in all address spaces.
  virtual void user_code_translations_dropped() = 0;
  /// User code is fetched in address space `number` from here on. `known`: by the
  /// translations that it was fetched by when that was entered last.
  virtual void address_space_entered(unsigned number, bool known) = 0;
  /// The access was watched: something must be looked at after this step.
  virtual void watched_access() = 0;
};

/// At which privilege memory is accessed.
enum class Privilege : std::uint8_t {
  current,     ///< CPL's
  supervisor,  ///< implicit accesses to descriptor tables, TSS and IDT, whatever CPL
};

/// One data access by linear address. `segment` only selects #SS or #GP for
/// addresses that are not canonical.
struct MemoryAccess {
  GuestLinear address;
  unsigned size = 0;
  Access access = Access::read;  ///< what is checked: a read-modify-write reads with `write`
  Privilege privilege = Privilege::current;
  unsigned segment = kDs;
};

class Mmu {
 public:
  Mmu(Ram& ram, CpuEnvironment& environment, const CpuState& state, AccessWatch& watch,
      MmuClient& client);

  // ---- the fast path -------------------------------------------------------------
  /// The TLB entry that a data access at the present privilege would use.
  [[nodiscard]] const TlbEntry& data_entry(std::uint64_t linear) const {
    return current_->data[tlb_index(linear)];
  }
  /// Where emitted code finds the table of the present privilege, which moves with
  /// every change of mode.
  [[nodiscard]] Tlb* const& current_tlb() const { return current_; }
  /// For bulk string iterations: the host address of `linear` if `access` there
  /// needs no slow path, with how many bytes from it to the end of the page;
  /// nothing otherwise (then go element by element).
  struct DirectSpan {
    std::uint8_t* host = nullptr;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] DirectSpan direct(std::uint64_t linear, Access access) const {
    const TlbEntry& entry = data_entry(linear);
    const std::uint64_t tag = access == Access::write ? entry.write_tag : entry.read_tag;
    if (tag != (linear & kPageMask)) return {};
    return {reinterpret_cast<std::uint8_t*>(linear + entry.host_minus_linear),
            kPageSize - (linear & ~kPageMask)};
  }

  // ---- linear memory --------------------------------------------------------------
  /// @return false when the guest must receive fault(); then nothing was changed but A and D bits
  [[nodiscard]] bool read(const MemoryAccess& access, void* out);
  [[nodiscard]] bool write(const MemoryAccess& access, const void* data);
  /// Makes the TLB answer a data access within a page, if it may: as the access itself
  /// would, and with nothing else done. Throws nothing, and nobody has to leave a block.
  [[nodiscard]] bool refill(std::uint64_t linear, unsigned size, Access access) noexcept;
  /// Checks a range as `access` of it would be checked, alignment included when
  /// the size is a power of two; every page is translated.
  [[nodiscard]] bool probe(const MemoryAccess& access);
  /// RAM offset of the page that code at `linear` is fetched from; kNever when it
  /// is not RAM; nothing for a fault.
  [[nodiscard]] std::optional<std::uint64_t> fetch_page(std::uint64_t linear);
  /// One byte of code that need not lie in RAM.
  [[nodiscard]] bool fetch_byte(std::uint64_t linear, std::uint8_t& out);
  /// The fault that the latest call reported.
  [[nodiscard]] const GuestFault& fault() const { return fault_; }

  // ---- mode and mappings ----------------------------------------------------------
  /// Must be told what accesses are made as; the processor does so with every mode.
  void set_context(const ProcessorMode& mode, const Flags& flags);
  /// Drops all translations.
  void flush();
  /// CR3 was replaced, `before` is what it was. What was derived from other tables
  /// is no longer used, and may be again once they are back.
  void root_changed(std::uint64_t before);
  /// PAE: the four directory pointers that `cr3` leads to; nothing if one has a
  /// reserved bit set.
  [[nodiscard]] std::optional<std::array<std::uint64_t, 4>> read_pdptes(std::uint64_t cr3);
  /// Starts a dirty-tracking epoch: the next write of any page is slow.
  void drop_write_tags();
  /// Code was decoded from this page: writes of it must be slow.
  void page_has_code(std::uint64_t page);
  /// Bytes of a page with kPageHasTables are about to change.
  void before_write_to_tables(std::uint64_t offset, std::uint64_t size);

  // ---- without side effects -------------------------------------------------------
  /// Walks as the processor would now, reading RAM only: no A or D bits, no faults.
  template <class Visit>
  [[nodiscard]] Walk look(GuestLinear linear, Visit&& visit) const {
    return walk_pages(
        Paging::of(state_), linear,
        [this](GuestPhysical place, unsigned bytes, std::uint64_t& entry) {
          return read_ram_entry(ram_, place, bytes, entry);
        },
        visit);
  }
  [[nodiscard]] Walk look(GuestLinear linear) const {
    return look(linear, [](const PageTableEntry&) {});
  }
  /// An entry that lies in RAM. @return false when it does not
  static bool read_ram_entry(const Ram& ram, GuestPhysical place, unsigned bytes,
                             std::uint64_t& entry);

  struct Counters {
    std::uint64_t slow_accesses = 0;
    std::uint64_t page_walks = 0;
  };
  struct SpaceCounters {
    std::uint64_t flushes = 0;
    std::uint64_t user_half_drops = 0;
    std::uint64_t entered = 0;  ///< changes of CR3 that did not flush
    std::uint64_t known = 0;    ///< of those: the entries were kept
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] SpaceCounters space_counters() const {
    return {kept_->flushes, kept_->user_half_drops, kept_->spaces_entered, kept_->spaces_known};
  }

 private:
  /// Where an access lies: its first `first` bytes at `low`, the rest at `high`.
  struct Pieces {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    unsigned first = 0;
  };
  struct UsedEntries;
  /// What a page was used for since the last flush.
  struct PageMark {
    std::uint32_t epoch = 0;  ///< of the TLB, in which the rest was noted; else nothing was
    std::uint8_t table = 0;   ///< TableUse bits
    /// How many of `slots` have got a write tag for the page; more than there are: any.
    std::uint8_t slot_count = 0;
    std::array<std::uint16_t, 2> slots{};
  };
  enum TableUse : std::uint8_t {
    kLeafTable = 1,    ///< a last-level table
    kUpperTable = 2,   ///< a table above that
    kRootTable = 4,    ///< the first of four
    kSystemHalf = 8,   ///< for addresses of the upper half
    kFetchedFrom = 16  ///< code_entries_ knows it
  };
  static constexpr std::uint8_t kAnyTable = kLeafTable | kUpperTable | kRootTable;
  /// Which entries of a last-level table code was fetched by.
  using CodeEntries = std::array<std::uint64_t, 16>;
  /// The tables of all address spaces, and what is known of them.
  struct Kept {
    Tlb supervisor;  ///< one for all: its entries are of the half that they share
    Tlb none;        ///< is never filled
    std::array<std::unique_ptr<AddressSpace>, kAddressSpaces> spaces;  ///< made when first entered
    AddressSpace* space = nullptr;                                     ///< the present one
    std::uint64_t system_half = 0;              ///< where the half that address spaces share begins
    bool user_half_in_supervisor = false;       ///< its table may hold such entries
    bool user_half_code_in_supervisor = false;  ///< and code was fetched by some
    std::unordered_map<std::uint64_t, CodeEntries> code_entries;  ///< by RAM page; not iterated
    std::uint32_t table_writes = 0;                               ///< since the last flush
    std::uint64_t flushes = 0;
    std::uint64_t spaces_entered = 0;
    std::uint64_t spaces_known = 0;
    std::uint64_t user_half_drops = 0;
  };

  [[nodiscard]] bool long_mode() const { return (state_.msr.efer & kEferLma) != 0; }
  [[nodiscard]] bool fail(const GuestFault& fault) {
    fault_ = fault;
    return false;
  }
  [[nodiscard]] bool fail_segment(unsigned segment) {
    return fail(GuestFault::with_code(segment == kSs ? kStackFault : kGeneralProtection, 0));
  }
  [[nodiscard]] Tlb& tlb(TlbContext context) {
    switch (context) {
      case TlbContext::supervisor:
        return kept_->supervisor;
      case TlbContext::supervisor_ac:
        return kept_->space->supervisor_ac;
      case TlbContext::user:
        return kept_->space->user;
      case TlbContext::no_fast_path:
        break;
    }
    return kept_->none;
  }
  template <class Visit>
  void for_each_used_table(Visit&& visit) {
    if (kept_->supervisor.used) visit(kept_->supervisor);
    for (const auto& space : kept_->spaces) {
      if (space == nullptr) continue;
      if (space->user.used) visit(space->user);
      if (space->supervisor_ac.used) visit(space->supervisor_ac);
    }
  }
  void choose_table() { current_ = &tlb(alignment_checked_ ? TlbContext::no_fast_path : context_); }
  [[nodiscard]] TlbContext fetch_context() const {
    return context_ == TlbContext::user ? TlbContext::user : TlbContext::supervisor;
  }

  // page_tables.cpp
  /// The physical page, or false with fault_.
  [[nodiscard]] bool translate(std::uint64_t address, Access access, TlbContext context,
                               unsigned segment, std::uint64_t& page);
  [[nodiscard]] bool walk(std::uint64_t address, Access access, TlbContext context,
                          std::uint64_t& page);
  [[nodiscard]] bool permitted(const Walk& walk, Access access, TlbContext context) const;
  [[nodiscard]] bool translate_by_entry(std::uint64_t address, Access access, TlbContext context,
                                        std::uint64_t& page);
  void set_table_bits(const PageTableEntry& entry, unsigned width, std::uint64_t bits);
  [[nodiscard]] PageMark& mark_of(std::uint64_t page);
  void mark_table_page(std::uint64_t page, std::uint8_t use);
  void unmark_table_page(std::uint64_t page);
  void note_fetch(std::uint64_t page, unsigned slot);
  void drop_derived_from_leaf(std::uint64_t page, std::uint64_t first, std::uint64_t last,
                              std::uint64_t entries);
  void drop_derived_from_root(std::uint64_t page, bool system_half);

  // address_spaces.cpp
  void enter_space(std::uint64_t root);
  void drop_user_half();
  void drop_user_half_of_supervisor();
  [[nodiscard]] bool in_user_half(std::uint64_t linear) const {
    return linear < kept_->system_half;
  }
  void note_root();

  // mmu.cpp
  [[nodiscard]] bool misaligned(const MemoryAccess& access);
  [[nodiscard]] bool locate(MemoryAccess& access, Pieces& pieces);
  void read_physical(std::uint64_t physical, std::uint8_t* out, unsigned size);
  void write_physical(std::uint64_t physical, const std::uint8_t* data, unsigned size);
  void fill(std::uint64_t address, TlbContext context, std::uint64_t physical_page, Access access);
  /// `made`: a read-modify-write is checked as a write and reads first.
  void note_access(const MemoryAccess& access, Access made);
  void drop_write_tags_of(std::uint64_t page);

  Ram& ram_;
  CpuEnvironment& environment_;
  const CpuState& state_;
  AccessWatch& watch_;
  MmuClient& client_;
  Tlb* current_;  ///< of context_, or the empty one while alignment is checked
  TlbContext context_ = TlbContext::supervisor;
  bool alignment_checked_ = false;
  bool tables_in_ram_ = true;  ///< all that the latest walk read were
  bool only_refill_ = false;   ///< a walk gives up where it would touch a device, or code
  std::unique_ptr<Kept> kept_;
  std::vector<PageMark> page_marks_;  ///< by RAM page
  std::uint32_t epoch_ = 1;           ///< counts full flushes
  GuestFault fault_;
  Counters counters_;
};

}  // namespace chronovisor
