// Which translations outlive a change of CR3. The TLB is coherent with the tables, so
// what was derived from some of them stays right as long as they do: the guest
// cannot tell whether it was kept. The lower half of each address space has tables
// of its own here; the upper half, where kernels live, is kept if the top
// tables before and after say the same about all of it. With PAE, the halves are
// the first three GiB and the last; with two levels nothing is kept.
#include <cstring>

#include "vmm/cpu/mmu/mmu.h"

namespace chronovisor {

void Mmu::flush() {
  ++kept_->flushes;
  kept_->supervisor.clear();
  for (const auto& space : kept_->spaces) {
    if (space == nullptr) continue;
    space->clear();
    space->root = kNever;
  }
  note_root();
  kept_->user_half_in_supervisor = kept_->user_half_code_in_supervisor = false;
  kept_->table_writes = 0;
  kept_->code_entries.clear();
  if (++epoch_ == 0) {  // the counter wrapped: old marks would look new
    for (PageMark& mark : page_marks_) mark = PageMark{};
    epoch_ = 1;
  }
  client_.code_translations_dropped();
}

/// The tables of the present space are those that the registers lead to.
void Mmu::note_root() {
  const Paging paging = Paging::of(state_);
  kept_->space->root = paging.cr3 & kPhysicalPageMask;
  kept_->space->pdpte = paging.pdpte;
  switch (paging.kind) {
    case PagingKind::four_levels:
      kept_->system_half = std::uint64_t{1} << 63;
      break;
    case PagingKind::pae:
      kept_->system_half = std::uint64_t{3} << 30;
      break;
    default:
      kept_->system_half = 0;
      break;
  }
}

void Mmu::root_changed(std::uint64_t before) {
  const Paging paging = Paging::of(state_);
  if (paging.kind == PagingKind::pae && paging.pdpte[3] == kept_->space->pdpte[3]) {
    if (paging.pdpte == kept_->space->pdpte) return;
    drop_user_half_of_supervisor();
    enter_space(state_.cr3 & kPhysicalPageMask);
    return;
  }
  if (paging.kind != PagingKind::four_levels) {
    flush();
    return;
  }
  const std::uint64_t old_root = before & kPhysicalPageMask;
  const std::uint64_t root = state_.cr3 & kPhysicalPageMask;
  if (root == old_root) return;
  const auto old_table = ram_.offset_of({old_root});
  const auto table = ram_.offset_of({root});
  constexpr std::uint64_t kHalf = kPageSize / 2;
  // An entry whose A bit is clear has led to no translation, and one that differs in it differs.
  if (!old_table || !table || kept_->space->root != old_root ||
      std::memcmp(ram_.host(*old_table) + kHalf, ram_.host(*table) + kHalf, kHalf) != 0) {
    flush();
    return;
  }
  mark_table_page(*table / kPageSize, kRootTable | kSystemHalf);
  drop_user_half_of_supervisor();
  enter_space(root);
}

void Mmu::enter_space(std::uint64_t root) {
  ++kept_->spaces_entered;
  const std::array<std::uint64_t, 4> pdpte = Paging::of(state_).pdpte;
  unsigned number = 0;
  bool known = false;
  std::uint64_t oldest = kNever;
  for (unsigned n = 0; n < kAddressSpaces && !known; ++n) {
    const AddressSpace* const space = kept_->spaces[n].get();
    if (space != nullptr && space->root == root && space->pdpte == pdpte) {
      number = n;
      known = true;
    } else if (const std::uint64_t when = space == nullptr ? 0 : space->entered; when < oldest) {
      number = n;
      oldest = when;
    }
  }
  if (kept_->spaces[number] == nullptr) kept_->spaces[number] = std::make_unique<AddressSpace>();
  kept_->space = kept_->spaces[number].get();
  if (known) {
    ++kept_->spaces_known;
  } else {
    kept_->space->clear();
    kept_->space->root = root;
    kept_->space->pdpte = pdpte;
  }
  kept_->space->entered = kept_->spaces_entered;
  choose_table();
  client_.address_space_entered(number, known);
}

/// Drops what was derived for the lower half, of all address spaces.
void Mmu::drop_user_half() {
  ++kept_->user_half_drops;
  for (const auto& space : kept_->spaces) {
    if (space != nullptr) space->clear();
  }
  drop_user_half_of_supervisor();
  client_.user_code_translations_dropped();
}

void Mmu::drop_user_half_of_supervisor() {
  if (!kept_->user_half_in_supervisor) return;
  kept_->user_half_in_supervisor = false;
  for (std::size_t n = 0; n < kTlbEntries; ++n) {
    TlbEntry& entry = kept_->supervisor.data[n];
    if (in_user_half(entry.read_tag)) entry = TlbEntry{};
    ExecuteTag& code = kept_->supervisor.code[n];
    if (in_user_half(code.tag)) code = ExecuteTag{};
  }
  if (!kept_->user_half_code_in_supervisor) return;
  kept_->user_half_code_in_supervisor = false;
  client_.code_translations_dropped();
}

/// Entries of a top table change. What was derived from them for the upper half is kept
/// for the present one alone, which says what others said.
void Mmu::drop_derived_from_root(std::uint64_t page, bool system_half) {
  const std::uint64_t root = ram_.physical_of(page * kPageSize).value;
  if (root == kept_->space->root) {
    if (system_half) {
      flush();
    } else {
      drop_user_half();
    }
    return;
  }
  for (const auto& space : kept_->spaces) {
    if (space == nullptr || space->root != root) continue;
    space->clear();
    space->root = kNever;
    space->entered = 0;
  }
  unmark_table_page(page);
}

}  // namespace chronovisor
