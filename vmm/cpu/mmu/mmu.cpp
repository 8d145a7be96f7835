// Accesses that the TLB does not answer: checks, accesses across pages and to
// devices, and the bookkeeping that a first write to a page brings (dirty, code,
// tables, watchpoints).
#include "vmm/cpu/mmu/mmu.h"

#include <algorithm>
#include <bit>

namespace chronovisor {

Mmu::Mmu(Ram& ram, CpuEnvironment& environment, const CpuState& state, AccessWatch& watch,
         MmuClient& client)
    : ram_(ram),
      environment_(environment),
      state_(state),
      watch_(watch),
      client_(client),
      kept_(std::make_unique<Kept>()),
      page_marks_(ram.all_page_count()) {
  kept_->spaces[0] = std::make_unique<AddressSpace>();
  kept_->space = kept_->spaces[0].get();
  choose_table();
}

void Mmu::set_context(const ProcessorMode& mode, const Flags& flags) {
  if (mode.cpl() == 3) {
    context_ = TlbContext::user;
  } else {
    context_ = flags.test(kAc) ? TlbContext::supervisor_ac : TlbContext::supervisor;
  }
  alignment_checked_ = mode.cpl() == 3 && (state_.cr0 & kCr0Am) != 0 && flags.test(kAc);
  choose_table();
}

Mmu::PageMark& Mmu::mark_of(std::uint64_t page) {
  PageMark& mark = page_marks_[page];
  if (mark.epoch != epoch_) {
    mark = PageMark{};
    mark.epoch = epoch_;
  }
  return mark;
}

void Mmu::drop_write_tags_of(std::uint64_t page) {
  PageMark& mark = mark_of(page);
  if (mark.slot_count == 0) return;
  const std::uint64_t host = ram_.host_address(page * kPageSize);
  const auto drop = [&](TlbEntry& entry) {
    if (entry.write_tag != TlbEntry::kInvalid &&
        entry.write_tag + entry.host_minus_linear == host) {
      entry.write_tag = TlbEntry::kInvalid;
    }
  };
  for_each_used_table([&](Tlb& table) {
    if (mark.slot_count > mark.slots.size()) {
      for (TlbEntry& entry : table.data) drop(entry);
    } else {
      for (unsigned n = 0; n < mark.slot_count; ++n) drop(table.data[mark.slots[n]]);
    }
  });
  mark.slot_count = 0;
}

void Mmu::drop_write_tags() {
  for_each_used_table([](Tlb& table) {
    for (TlbEntry& entry : table.data) entry.write_tag = TlbEntry::kInvalid;
  });
}

void Mmu::page_has_code(std::uint64_t page) { drop_write_tags_of(page); }

void Mmu::fill(std::uint64_t address, TlbContext context, std::uint64_t physical_page,
               Access access) {
  if (alignment_checked_ || !tables_in_ram_) return;
  const auto offset = ram_.offset_of({physical_page});
  const std::uint64_t linear_page = address & kPageMask;
  if (!offset || watch_.data_page_watched(linear_page, {physical_page})) return;
  Tlb& table = tlb(context);
  TlbEntry& entry = table.data[tlb_index(address)];
  const std::uint64_t delta = reinterpret_cast<std::uint64_t>(ram_.host(*offset)) - linear_page;
  if (entry.host_minus_linear != delta ||
      (entry.read_tag != linear_page && entry.write_tag != linear_page)) {
    entry = TlbEntry{};
    entry.host_minus_linear = delta;
  }
  table.used = true;
  entry.read_tag = linear_page;
  if (context == TlbContext::supervisor && in_user_half(linear_page)) {
    kept_->user_half_in_supervisor = true;
  }
  AccessObserver* const observer = watch_.observer();
  if (observer != nullptr) observer->reads_page(linear_page);
  if (access != Access::write) return;
  entry.dirty_tag = linear_page;
  const std::uint64_t page = *offset / kPageSize;
  PageMark& mark = mark_of(page);
  if ((ram_.use(page) & (kPageHasCode | kPageWritesToBus)) != 0 || (mark.table & kAnyTable) != 0) {
    return;
  }
  if (observer != nullptr && !observer->writes_page(linear_page)) return;
  ram_.mark_dirty(page);
  const auto slot = static_cast<std::uint16_t>(tlb_index(address));
  const auto slots_end = mark.slots.begin() + std::min<std::size_t>(mark.slot_count, 2);
  if (std::find(mark.slots.begin(), slots_end, slot) == slots_end) {
    if (mark.slot_count < mark.slots.size()) mark.slots[mark.slot_count] = slot;
    if (mark.slot_count <= mark.slots.size()) ++mark.slot_count;
  }
  entry.write_tag = linear_page;
}

void Mmu::read_physical(std::uint64_t physical, std::uint8_t* out, unsigned size) {
  const auto offset = ram_.offset_of({physical});
  if (offset) {
    std::memcpy(out, ram_.host(*offset), size);
    return;
  }
  for (unsigned done = 0; done < size;) {
    const unsigned width = std::min(8U, std::bit_floor(size - done));
    const std::uint64_t value = environment_.mmio_read({physical + done}, width);
    std::memcpy(out + done, &value, width);
    done += width;
  }
}

void Mmu::write_physical(std::uint64_t physical, const std::uint8_t* data, unsigned size) {
  const auto offset = ram_.offset_of({physical});
  if (offset && (ram_.use(*offset / kPageSize) & kPageWritesToBus) == 0) {
    const std::uint64_t page = *offset / kPageSize;
    if (ram_.use(page) != 0) client_.before_write_to_used_page(*offset, size);
    std::uint8_t* const place = ram_.host(*offset);
    ram_.mark_dirty(page);
    std::memcpy(place, data, size);
  } else {
    for (unsigned done = 0; done < size;) {
      const unsigned width = std::min(8U, std::bit_floor(size - done));
      std::uint64_t value = 0;
      std::memcpy(&value, data + done, width);
      environment_.mmio_write({physical + done}, width, value);
      done += width;
    }
    client_.device_touched();
  }
  if (watch_.physical_written({physical}, size) == AccessWatch::Outcome::stop_at_boundary) {
    client_.watched_access();
  }
}

/// Raises #AC when alignment is checked. An address that is not canonical comes
/// before one that is misaligned.
bool Mmu::misaligned(const MemoryAccess& access) {
  if (!alignment_checked_ || access.privilege == Privilege::supervisor || access.size > 8) {
    return false;
  }
  const std::uint64_t address = access.address.value;
  if (long_mode() && !canonical_address(address)) return false;
  if ((address & (std::bit_ceil(access.size) - 1)) == 0) return false;
  fault_ = GuestFault::with_code(kAlignmentCheck, 0);
  return true;
}

/// Checks all of an access and finds where it lies; cuts its address to 32 bits
/// outside long mode.
bool Mmu::locate(MemoryAccess& access, Pieces& pieces) {
  ++counters_.slow_accesses;
  std::uint64_t& address = access.address.value;
  if (!long_mode()) address = static_cast<std::uint32_t>(address);
  if (misaligned(access)) return false;
  pieces.first =
      std::min<unsigned>(access.size, static_cast<unsigned>(kPageSize - (address & ~kPageMask)));
  const bool crosses = pieces.first != access.size;
  if (crosses && long_mode() && !canonical_address(address + pieces.first)) {
    return fail_segment(access.segment);
  }
  const TlbContext context =
      access.privilege == Privilege::supervisor ? TlbContext::supervisor : context_;
  std::uint64_t page = 0;
  if (!translate(address, access.access, context, access.segment, page)) return false;
  pieces.low = page | (address & ~kPageMask);
  if (!crosses) {
    fill(address, context, page, access.access);
    return true;
  }
  std::uint64_t next = address + pieces.first;
  if (!long_mode()) next = static_cast<std::uint32_t>(next);
  return translate(next, access.access, context, access.segment, pieces.high);
}

void Mmu::note_access(const MemoryAccess& access, Access made) {
  const auto outcome = watch_.data_accessed(access.address, access.size, made);
  if (outcome == AccessWatch::Outcome::stop_at_boundary) client_.watched_access();
}

bool Mmu::read(const MemoryAccess& asked, void* out) {
  MemoryAccess access = asked;
  Pieces pieces;
  if (!locate(access, pieces)) return false;
  auto* const bytes = static_cast<std::uint8_t*>(out);
  bool device = !ram_.offset_of({pieces.low});
  read_physical(pieces.low, bytes, pieces.first);
  if (const unsigned rest = access.size - pieces.first; rest != 0) {
    read_physical(pieces.high, bytes + pieces.first, rest);
    device = device || !ram_.offset_of({pieces.high});
  }
  if (device) client_.device_touched();
  // The load half of a read-modify-write is a read to a watcher; its store reports the write.
  note_access(access, Access::read);
  return true;
}

bool Mmu::write(const MemoryAccess& asked, const void* data) {
  MemoryAccess access = asked;
  access.access = Access::write;
  Pieces pieces;
  if (!locate(access, pieces)) return false;
  const auto* const bytes = static_cast<const std::uint8_t*>(data);
  write_physical(pieces.low, bytes, pieces.first);
  if (const unsigned rest = access.size - pieces.first; rest != 0) {
    write_physical(pieces.high, bytes + pieces.first, rest);
  }
  note_access(access, Access::write);
  return true;
}

bool Mmu::refill(std::uint64_t linear, unsigned size, Access access) noexcept {
  if (alignment_checked_ || (linear & ~kPageMask) + size > kPageSize) return false;
  if (!long_mode() && linear >> 32 != 0) return false;
  ++counters_.slow_accesses;
  std::uint64_t page = 0;
  only_refill_ = true;
  bool filled = false;
  try {
    if (translate(linear, access, context_, kDs, page)) {
      fill(linear, context_, page, access);
      const TlbEntry& entry = data_entry(linear);
      filled = (access == Access::write ? entry.write_tag : entry.read_tag) == (linear & kPageMask);
    }
  } catch (...) {
    filled = false;  // the access itself will say what
  }
  only_refill_ = false;
  return filled;
}

bool Mmu::probe(const MemoryAccess& access) {
  const std::uint64_t address = access.address.value;
  if (std::has_single_bit(access.size) && misaligned(access)) return false;
  const TlbContext context =
      access.privilege == Privilege::supervisor ? TlbContext::supervisor : context_;
  const std::uint64_t first_page = address & kPageMask;
  const std::uint64_t last_in_range = address + access.size - 1 - first_page;
  std::uint64_t page = 0;
  for (std::uint64_t at = first_page; at - first_page <= last_in_range; at += kPageSize) {
    const std::uint64_t here = std::max(at, address);
    if (!translate(long_mode() ? here : static_cast<std::uint32_t>(here), access.access, context,
                   access.segment, page)) {
      return false;
    }
  }
  return true;
}

std::optional<std::uint64_t> Mmu::fetch_page(std::uint64_t linear) {
  const TlbContext context = fetch_context();
  Tlb& table = tlb(context);
  ExecuteTag& entry = table.code[tlb_index(linear)];
  if (entry.tag == (linear & kPageMask)) return entry.ram_page_offset;
  std::uint64_t page = 0;
  if (!translate(linear, Access::execute, context, kCs, page)) return std::nullopt;
  const auto offset = ram_.offset_of({page});
  if (!offset) return kNever;
  if (!tables_in_ram_) return *offset;
  if (context == TlbContext::supervisor && in_user_half(linear)) {
    kept_->user_half_in_supervisor = kept_->user_half_code_in_supervisor = true;
  }
  table.used = true;
  entry.tag = linear & kPageMask;
  entry.ram_page_offset = *offset;
  return *offset;
}

bool Mmu::fetch_byte(std::uint64_t linear, std::uint8_t& out) {
  std::uint64_t page = 0;
  if (!translate(linear, Access::execute, fetch_context(), kCs, page)) return false;
  read_physical(page | (linear & ~kPageMask), &out, 1);
  return true;
}

bool Mmu::read_ram_entry(const Ram& ram, GuestPhysical place, unsigned bytes,
                         std::uint64_t& entry) {
  std::array<std::uint8_t, 8> raw{};
  if (ram.read(place, std::span(raw).first(bytes)) != bytes) return false;
  std::memcpy(&entry, raw.data(), sizeof(entry));
  return true;
}

}  // namespace chronovisor
