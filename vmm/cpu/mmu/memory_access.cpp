// The slow half of memory access: segment checks, what happens when a TLB tag
// does not match, accesses across pages and to devices, and the bookkeeping
// that a first write to a page brings (dirty, code, tables, watchpoints).
#include <algorithm>
#include <bit>

#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/debug_hooks.h"

namespace chronovisor {

std::uint64_t Cpu::linear_checked(unsigned segment, std::uint64_t offset, unsigned size,
                                  Access access) {
  const SegmentRegister& s = state.segment[segment];
  const std::uint64_t last = offset + (size - 1);
  const std::uint8_t shortcut = segment_shortcut_[segment];
  if ((shortcut & (access == Access::write ? 2 : 1)) != 0 && last <= s.limit && last >= offset)
      [[likely]] {
    return static_cast<std::uint32_t>(s.base + offset);
  }
  const auto refuse = [&]() { raise(segment == kSs ? kStackFault : kGeneralProtection, 0); };
  const bool typed = mode_ == CpuMode::protected_mode || mode_ == CpuMode::compatibility;
  bool expand_down = s.code_or_data() && (s.type() & 0xc) == 4;
  if (typed) {
    if (!s.present()) refuse();
    const bool code = (s.type() & 8) != 0;
    if (access == Access::write && (code || (s.type() & 2) == 0)) refuse();
    if (access == Access::read && code && (s.type() & 2) == 0) refuse();
  }
  if (expand_down) {
    const std::uint64_t top = s.big() ? 0xffffffffU : 0xffffU;
    if (offset <= s.limit || last > top || last < offset) refuse();
  } else if (last > s.limit || last < offset) {
    refuse();
  }
  return static_cast<std::uint32_t>(s.base + offset);
}

TlbContext Cpu::access_context(bool system) const {
  if (!system && cpl_ == 3) return TlbContext::user;
  return !system && flags.test(kAc) ? TlbContext::supervisor_ac : TlbContext::supervisor;
}

void Cpu::check_alignment(std::uint64_t address, unsigned size) const {
  if ((address & (std::bit_ceil(size) - 1)) != 0 && size <= 8) raise(kAlignmentCheck, 0);
}

bool Cpu::page_watched(std::uint64_t linear_page, std::uint64_t physical_page) const {
  if (hooks_ != nullptr && (hooks_->watchpoint_on_page(linear_page) ||
                            hooks_->physical_watchpoint_on_page({physical_page}))) {
    return true;
  }
  if ((state.dr7 & 0xff) == 0) return false;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_enabled(state.dr7, n) && breakpoint_kind(state.dr7, n) != kBreakExecute &&
        (state.dr[n] & kPageMask) == linear_page) {
      return true;
    }
  }
  return false;
}

void Cpu::note_data_access(std::uint64_t address, unsigned size, Access access) {
  if (observer_ != nullptr) observer_->accessed(address, size, access == Access::write);
  if (hooks_ != nullptr && hooks_->accessed(address, size, access == Access::write)) {
    watchpoint_hit_ = true;
    leave_block();
  }
  constexpr unsigned kByRead = 1U << kBreakReadWrite;
  constexpr unsigned kByWrite = kByRead | 1U << kBreakWrite;
  note_debug_range(address, size, access == Access::write ? kByWrite : kByRead);
}

/// Records a device's write where it touches watched memory, at most once a watchpoint.
/// @return whether it does
bool Cpu::note_device_write(std::string_view device, GuestPhysical address, std::uint64_t size) {
  bool touched = hooks_->wrote_physical(device, address, size);
  for (const Watchpoint& w : hooks_->watchpoints) {
    if (!w.on_write) continue;
    const std::uint64_t last = w.address + (w.length - 1);
    for (std::uint64_t page = w.address & kPageMask;; page += kPageSize) {
      const std::uint64_t first = std::max(page, w.address);
      const std::uint64_t end = std::min(page + (kPageSize - 1), last);
      if (const auto physical = translate_for_debugger(first)) {
        const std::uint64_t from = std::max(physical->value, address.value);
        const std::uint64_t to =
            std::min(physical->value + (end - first), address.value + (size - 1));
        if (from <= to) {
          hooks_->hits.push_back({w, first + (from - physical->value), true, std::string(device)});
          touched = true;
          break;
        }
      }
      if (end == last) break;
    }
  }
  return touched;
}

void Cpu::device_wrote(std::string_view device, GuestPhysical address, std::uint64_t size) {
  if (observer_ != nullptr) observer_->device_wrote(device, address, size);
  if (hooks_ == nullptr || !note_device_write(device, address, size)) return;
  if (current_ == idle_instruction()) {
    // Nothing executes: what a device does on arrival happens at this moment.
    moment_before_ = {{steps_}, deliveries_};
    device_touched_watch_ = true;
  } else {
    watchpoint_hit_ = true;
    leave_block();
  }
}

void Cpu::note_port_access(std::uint16_t port, unsigned size) {
  if ((state.cr4 & kCr4De) != 0) note_debug_range(port, size, 1U << kBreakPort);
}

/// A #DB is due if a debug register is enabled, of a kind in the set `kinds` (bit
/// n: BreakpointKind n), and its range touches these bytes.
/// Source: SDM vol. 3B, "Data and I/O Breakpoint Exception Conditions".
void Cpu::note_debug_range(std::uint64_t address, unsigned size, unsigned kinds) {
  if ((state.dr7 & 0xff) == 0) return;
  for (unsigned n = 0; n < 4; ++n) {
    if (!breakpoint_enabled(state.dr7, n) || (kinds >> breakpoint_kind(state.dr7, n) & 1) == 0)
      continue;
    static constexpr std::array<std::uint64_t, 4> kLength{1, 2, 8, 4};
    const std::uint64_t length = kLength[(state.dr7 >> (18 + 4 * n)) & 3];
    const std::uint64_t first = state.dr[n] & ~(length - 1);
    if (first <= address + size - 1 && address <= first + length - 1) {
      state.pending_debug |= 1ULL << n;
      leave_block();
    }
  }
}

void Cpu::fill_tlb(std::uint64_t address, TlbContext context, const Translation& translation,
                   Access access) {
  if (tlb_ == &(*tlbs_)[static_cast<std::size_t>(TlbContext::no_fast_path)]) return;
  const auto offset = ram_.offset_of({translation.physical_page});
  const std::uint64_t linear_page = address & kPageMask;
  if (!offset || page_watched(linear_page, translation.physical_page)) return;
  Tlb& tlb = (*tlbs_)[static_cast<std::size_t>(context)];
  TlbEntry& entry = tlb.data[tlb_index(address)];
  const std::uint64_t delta = reinterpret_cast<std::uint64_t>(ram_.host(*offset)) - linear_page;
  if (entry.host_minus_linear != delta ||
      (entry.read_tag != linear_page && entry.write_tag != linear_page)) {
    entry = TlbEntry{};
    entry.host_minus_linear = delta;
  }
  tlb.used = true;
  entry.read_tag = linear_page;
  if (observer_ != nullptr) observer_->reads_page(linear_page);
  const std::uint64_t page = *offset / kPageSize;
  if (access != Access::write) return;
  const PageMark& mark = page_marks_[page];
  if ((ram_.use(page) & kPageHasCode) != 0 || mark.leaf_table == tlb_epoch_ ||
      mark.upper_table == tlb_epoch_) {
    return;
  }
  if (observer_ != nullptr && !observer_->writes_page(linear_page)) return;
  ram_.mark_dirty(page);
  page_marks_[page].write_tagged = tlb_epoch_;
  entry.write_tag = linear_page;
}

void Cpu::drop_write_tags_of(std::uint64_t page) {
  const std::uint64_t host = reinterpret_cast<std::uint64_t>(ram_.host(page * kPageSize));
  for (Tlb& tlb : *tlbs_) {
    if (!tlb.used) continue;
    for (TlbEntry& entry : tlb.data) {
      if (entry.write_tag != TlbEntry::kInvalid &&
          entry.write_tag + entry.host_minus_linear == host) {
        entry.write_tag = TlbEntry::kInvalid;
      }
    }
  }
}

void Cpu::drop_write_tags() {
  for (Tlb& tlb : *tlbs_) {
    if (!tlb.used) continue;
    for (TlbEntry& entry : tlb.data) entry.write_tag = TlbEntry::kInvalid;
  }
}

void Cpu::read_physical(std::uint64_t physical, std::uint8_t* out, unsigned size) {
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

void Cpu::write_ram(std::uint64_t offset, const void* data, unsigned size) {
  const std::uint64_t page = offset / kPageSize;
  if (ram_.use(page) != 0) before_write_to_used_page(offset, size);
  ram_.mark_dirty(page);
  std::memcpy(ram_.host(offset), data, size);
}

void Cpu::write_physical(std::uint64_t physical, const std::uint8_t* data, unsigned size) {
  const auto offset = ram_.offset_of({physical});
  if (offset) {
    write_ram(*offset, data, size);
    if (hooks_ != nullptr && hooks_->wrote_physical({}, {physical}, size)) {
      watchpoint_hit_ = true;
      leave_block();
    }
    return;
  }
  for (unsigned done = 0; done < size;) {
    const unsigned width = std::min(8U, std::bit_floor(size - done));
    std::uint64_t value = 0;
    std::memcpy(&value, data + done, width);
    environment_.mmio_write({physical + done}, width, value);
    done += width;
  }
  request_recheck();
}

void Cpu::before_write_to_used_page(std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t page = offset / kPageSize;
  if ((ram_.use(page) & kPageHasCode) != 0) {
    if (blocks_->invalidate(offset, size)) {
      forget_jumps();
      leave_block();
    }
    if (!blocks_->page_has_blocks(page)) ram_.remove_use(page, kPageHasCode);
  }
  if ((ram_.use(page) & kPageHasTables) != 0) {
    const PageMark& mark = page_marks_[page];
    if (mark.leaf_table != tlb_epoch_ && mark.upper_table != tlb_epoch_) {
      ram_.remove_use(page, kPageHasTables);
    } else {
      table_page_written(offset, size);
    }
  }
}

void Cpu::read_slow(std::uint64_t address, void* out, unsigned size, unsigned segment,
                    Access access, bool system) {
  ++counters_.slow_accesses;
  const TlbContext context = access_context(system);
  if (!long64() && !long_mode_active()) address = static_cast<std::uint32_t>(address);
  const bool alignment =
      !system && tlb_ == &(*tlbs_)[static_cast<std::size_t>(TlbContext::no_fast_path)];
  // A non-canonical address comes before a misaligned one.
  if (alignment && (!long_mode_active() || canonical(address))) check_alignment(address, size);
  auto* bytes = static_cast<std::uint8_t*>(out);
  const unsigned first =
      std::min<unsigned>(size, static_cast<unsigned>(kPageSize - (address & ~kPageMask)));
  if (first != size && long_mode_active() && !canonical(address + first)) {
    raise(segment == kSs ? kStackFault : kGeneralProtection, 0);
  }
  const Translation low = translate(address, access, context, segment);
  const std::uint64_t low_physical = low.physical_page | (address & ~kPageMask);
  if (first == size) {
    fill_tlb(address, context, low, access);
    read_physical(low_physical, bytes, size);
    if (!ram_.offset_of({low_physical})) request_recheck();
  } else {
    std::uint64_t next = address + first;
    if (!long_mode_active()) next = static_cast<std::uint32_t>(next);
    const Translation high = translate(next, access, context, segment);
    read_physical(low_physical, bytes, first);
    read_physical(high.physical_page, bytes + first, size - first);
    if (!ram_.offset_of({low_physical}) || !ram_.offset_of({high.physical_page})) request_recheck();
  }
  // The load half of a read-modify-write is a read to a watcher; its store reports the write.
  note_data_access(address, size, Access::read);
}

void Cpu::write_slow(std::uint64_t address, const void* data, unsigned size, unsigned segment,
                     bool system) {
  ++counters_.slow_accesses;
  const TlbContext context = access_context(system);
  if (!long64() && !long_mode_active()) address = static_cast<std::uint32_t>(address);
  const bool alignment =
      !system && tlb_ == &(*tlbs_)[static_cast<std::size_t>(TlbContext::no_fast_path)];
  // A non-canonical address comes before a misaligned one.
  if (alignment && (!long_mode_active() || canonical(address))) check_alignment(address, size);
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  const unsigned first =
      std::min<unsigned>(size, static_cast<unsigned>(kPageSize - (address & ~kPageMask)));
  if (first != size && long_mode_active() && !canonical(address + first)) {
    raise(segment == kSs ? kStackFault : kGeneralProtection, 0);
  }
  const Translation low = translate(address, Access::write, context, segment);
  const std::uint64_t low_physical = low.physical_page | (address & ~kPageMask);
  if (first == size) {
    fill_tlb(address, context, low, Access::write);
    write_physical(low_physical, bytes, size);
  } else {
    std::uint64_t next = address + first;
    if (!long_mode_active()) next = static_cast<std::uint32_t>(next);
    const Translation high = translate(next, Access::write, context, segment);
    write_physical(low_physical, bytes, first);
    write_physical(high.physical_page, bytes + first, size - first);
  }
  note_data_access(address, size, Access::write);
}

void Cpu::probe(unsigned segment, std::uint64_t offset, unsigned size, Access access) {
  const std::uint64_t address = access == Access::write
                                    ? linear<Access::write>(segment, offset, size)
                                    : linear<Access::read>(segment, offset, size);
  const TlbContext context = access_context(false);
  const bool alignment = tlb_ == &(*tlbs_)[static_cast<std::size_t>(TlbContext::no_fast_path)];
  if (alignment && std::has_single_bit(size) && (!long_mode_active() || canonical(address))) {
    check_alignment(address, size);
  }
  for (std::uint64_t at = address & kPageMask;
       at - (address & kPageMask) <= (address + size - 1 - (address & kPageMask));
       at += kPageSize) {
    const std::uint64_t here = std::max(at, address);
    (void)translate(long_mode_active() ? here : static_cast<std::uint32_t>(here), access, context,
                    segment);
  }
}

void Cpu::probe_system(std::uint64_t address, unsigned size, Access access) {
  (void)translate(address, access, TlbContext::supervisor, kDs);
  if (((address + size - 1) & kPageMask) != (address & kPageMask)) {
    (void)translate((address + size - 1) & kPageMask, access, TlbContext::supervisor, kDs);
  }
}

Cpu::DirectSpan Cpu::direct(std::uint64_t linear, Access access) {
  const TlbEntry& entry = tlb_->data[tlb_index(linear)];
  const std::uint64_t tag = access == Access::write ? entry.write_tag : entry.read_tag;
  if (tag != (linear & kPageMask)) return {};
  return {reinterpret_cast<std::uint8_t*>(linear + entry.host_minus_linear),
          kPageSize - (linear & ~kPageMask)};
}

}  // namespace chronovisor
