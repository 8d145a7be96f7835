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
  /// One of them was replaced by another; nothing that executes is concerned.
  virtual void code_translations_evicted() = 0;
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
  /// Drops those of one page (INVLPG).
  void flush_page(std::uint64_t linear);
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
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  /// Where an access lies: its first `first` bytes at `low`, the rest at `high`.
  struct Pieces {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    unsigned first = 0;
  };
  struct UsedEntries;
  /// What a page was used for, each as the TLB epoch in which it was.
  struct PageMark {
    std::uint32_t leaf_table = 0;    ///< a last-level table
    std::uint32_t upper_table = 0;   ///< a table above that
    std::uint32_t write_tagged = 0;  ///< got a write tag
  };

  [[nodiscard]] bool long_mode() const { return (state_.msr.efer & kEferLma) != 0; }
  [[nodiscard]] bool fail(const GuestFault& fault) {
    fault_ = fault;
    return false;
  }
  [[nodiscard]] bool fail_segment(unsigned segment) {
    return fail(GuestFault::with_code(segment == kSs ? kStackFault : kGeneralProtection, 0));
  }
  [[nodiscard]] Tlb& tlb(TlbContext context) { return (*tlbs_)[static_cast<std::size_t>(context)]; }
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
  void set_table_bits(const PageTableEntry& entry, unsigned width, std::uint64_t bits);
  void mark_table_page(std::uint64_t page, bool leaf);

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
  std::unique_ptr<std::array<Tlb, kTlbContexts>> tlbs_;
  std::vector<PageMark> page_marks_;  ///< by RAM page
  std::uint32_t epoch_ = 1;           ///< counts full flushes
  GuestFault fault_;
  Counters counters_;
};

}  // namespace chronovisor
