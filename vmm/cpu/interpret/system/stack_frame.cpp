#include "vmm/cpu/interpret/system/stack_frame.h"

#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor {

void StackFrame::push(std::uint64_t value, unsigned size) {
  CHECK_THAT(count_ < kMostEntries, "a frame has at most 31 parameters");
  pointer_ = Cpu::cut(pointer_ - size, target_.width);
  std::uint64_t linear = pointer_;
  if (target_.width == 8) {
    if (!Cpu::canonical(linear) || !Cpu::canonical(linear + size - 1)) {
      cpu_.raise(kStackFault, error_code_);
    }
  } else {
    if (!within_segment(target_.ss, pointer_, size)) cpu_.raise(kStackFault, error_code_);
    linear = static_cast<std::uint32_t>(target_.ss.base + pointer_);
  }
  entries_[count_++] = {pointer_, linear, value, size};
}

bool StackFrame::at_inner_privilege() const { return cpu_.cpl() == 3 && target_.cpl != 3; }

void StackFrame::probe() {
  if (cpu_.cpl() == 3 && target_.cpl == 3) {
    // One by one: alignment is checked by the size of each.
    for (std::size_t n = 0; n < count_; ++n) {
      cpu_.probe(kSs, entries_[n].offset, entries_[n].size, Access::write);
    }
    return;
  }
  // Usually all on one page, which the first push decides about. A page fault
  // names the first push that fails.
  const Entry& first = entries_[0];
  const Entry& last = entries_[count_ - 1];
  constexpr std::uint64_t kPage = ~0xfffULL;
  const bool one_page = ((first.linear + first.size - 1) & kPage) == (last.linear & kPage);
  const std::size_t checked = one_page ? 1 : count_;
  for (std::size_t n = 0; n < checked; ++n) {
    cpu_.probe_system(entries_[n].linear, entries_[n].size, Access::write);
  }
}

template <class T>
void StackFrame::store(const Entry& entry) {
  if (at_inner_privilege()) {
    cpu_.store_system<T>(entry.linear, static_cast<T>(entry.value));
  } else {
    cpu_.store_linear<T>(entry.linear, static_cast<T>(entry.value), kSs);
  }
}

void StackFrame::write() {
  if (count_ == 0) return;
  probe();
  for (std::size_t n = 0; n < count_; ++n) {
    const Entry& entry = entries_[n];
    if (entry.size == 2) {
      store<std::uint16_t>(entry);
    } else if (entry.size == 4) {
      store<std::uint32_t>(entry);
    } else {
      store<std::uint64_t>(entry);
    }
  }
}

StackTarget current_stack(Cpu& cpu) {
  return {cpu.state.segment[kSs], cpu.gpr(kRsp), cpu.stack_width(), cpu.cpl()};
}

StackTarget inner_stack_legacy(Cpu& cpu, unsigned cpl, std::uint32_t ext) {
  const SegmentRegister& tr = cpu.state.tr;
  const bool tss32 = tr.type() == kTss32Available || tr.type() == kTss32Busy;
  const std::uint32_t offset = tss32 ? 4 + 8 * cpl : 2 + 4 * cpl;
  const std::uint32_t last = offset + (tss32 ? 5 : 3);
  if (last > tr.limit) cpu.raise(kInvalidTss, selector_error(tr.selector, ext));
  StackTarget target;
  std::uint16_t selector = 0;
  if (tss32) {
    target.sp = cpu.load_system<std::uint32_t>(tr.base + offset);
    selector = cpu.load_system<std::uint16_t>(tr.base + offset + 4);
  } else {
    target.sp = cpu.load_system<std::uint16_t>(tr.base + offset);
    selector = cpu.load_system<std::uint16_t>(tr.base + offset + 2);
  }
  if (null_selector(selector)) cpu.raise(kInvalidTss, selector_error(selector, ext));
  target.ss = checked_stack_segment(cpu, selector, cpl, kInvalidTss, ext);
  target.width = target.ss.big() ? 4 : 2;
  target.sp = Cpu::cut(target.sp, target.width);
  target.cpl = cpl;
  return target;
}

StackTarget inner_stack_long(Cpu& cpu, unsigned cpl, unsigned ist, std::uint32_t ext) {
  constexpr std::uint32_t kIstBase = 0x1c;  // IST 1 is at 0x24
  const SegmentRegister& tr = cpu.state.tr;
  const std::uint32_t offset = ist != 0 ? kIstBase + 8 * ist : 4 + 8 * cpl;
  if (offset + 7 > tr.limit) cpu.raise(kInvalidTss, selector_error(tr.selector, ext));
  StackTarget target;
  target.sp = cpu.load_system<std::uint64_t>(tr.base + offset);
  target.ss = null_segment(static_cast<std::uint16_t>(cpl));
  target.width = 8;
  target.cpl = cpl;
  return target;
}

void install_stack(Cpu& cpu, const StackTarget& target, std::uint64_t sp) {
  cpu.set_segment(kSs, target.ss);
  set_stack_pointer_width(cpu, target.width, sp);
}

void set_stack_pointer_width(Cpu& cpu, unsigned width, std::uint64_t value) {
  if (width == 8) {
    cpu.gpr(kRsp) = value;
  } else if (width == 4) {
    cpu.set_reg<std::uint32_t>(kRsp, static_cast<std::uint32_t>(value));
  } else {
    cpu.set_reg<std::uint16_t>(kRsp, static_cast<std::uint16_t>(value));
  }
}

std::uint64_t StackReader::next() {
  const std::uint64_t offset = Cpu::cut(pointer_, cpu_.stack_width());
  pointer_ += size_;
  switch (size_) {
    case 2:
      return cpu_.load<std::uint16_t>(kSs, offset);
    case 4:
      return cpu_.load<std::uint32_t>(kSs, offset);
    default:
      return cpu_.load<std::uint64_t>(kSs, offset);
  }
}

}  // namespace chronovisor
