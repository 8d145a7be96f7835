#include "vmm/cpu/interpret/system/far_return.h"

#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/far_transfer.h"
#include "vmm/cpu/interpret/system/stack_frame.h"
#include "vmm/cpu/interpret/system/task_switch.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kFlags16 = 0xffff;
constexpr std::uint32_t kUserFlags = kArithmeticFlags | kTf | kDf | kNt | kRf | kAc | kId;
constexpr std::uint32_t kRealFlags = kUserFlags | kIf | kIoplMask;

void replace_flags(Cpu& cpu, std::uint32_t value, std::uint32_t mask) {
  cpu.set_flags((cpu.flags.value() & ~mask) | (value & mask));
}

/// The flags a protected-mode IRET may change at the present CPL.
std::uint32_t return_flags_mask(const Cpu& cpu, unsigned size) {
  std::uint32_t mask = kUserFlags;
  if (cpu.cpl() <= cpu.flags.iopl()) mask |= kIf;
  if (cpu.cpl() == 0) mask |= kIoplMask | kVif | kVip;
  return size == 2 ? mask & kFlags16 : mask;
}

/// The code segment a return leads to, checked.
Descriptor checked_return_code(Cpu& cpu, std::uint16_t selector) {
  if (null_selector(selector)) cpu.raise_gp0();
  const Descriptor code = fetch_descriptor(cpu, selector);
  const unsigned rpl = requested_privilege(selector);
  const bool allowed = code.conforming() ? code.dpl() <= rpl : code.dpl() == rpl;
  const bool both_sizes = cpu.long_mode_active() && code.long_mode() && code.big();
  if (!code.code() || rpl < cpu.cpl() || !allowed || both_sizes) {
    cpu.raise(kGeneralProtection, selector_error(selector));
  }
  if (!code.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  return code;
}

/// The stack segment popped by a return to `cpl`.
StackTarget checked_return_stack(Cpu& cpu, std::uint16_t selector, std::uint64_t sp, unsigned cpl,
                                 const Descriptor& code) {
  const bool to_long64 = cpu.long_mode_active() && code.long_mode();
  StackTarget stack;
  stack.sp = sp;
  stack.cpl = cpl;
  if (null_selector(selector)) {
    if (!to_long64 || cpl == 3 || requested_privilege(selector) != cpl) cpu.raise_gp0();
    stack.ss = null_segment(selector);
  } else {
    stack.ss = checked_stack_segment(cpu, selector, cpl, kGeneralProtection);
  }
  stack.width = to_long64 ? 8 : (stack.ss.big() ? 4 : 2);
  return stack;
}

void far_return_real(Cpu& cpu, unsigned size, std::uint16_t release_bytes) {
  StackReader reader(cpu, size);
  const std::uint64_t rip = reader.next();
  const auto selector = static_cast<std::uint16_t>(reader.next());
  if (rip > cpu.state.segment[kCs].limit) cpu.raise_gp0();
  cpu.set_stack_pointer(reader.pointer() + release_bytes);
  cpu.rip() = rip;
  cpu.set_segment(
      kCs, cpu.virtual8086() ? virtual8086_segment(selector) : real_segment(cpu, kCs, selector));
}

void interrupt_return_real(Cpu& cpu, unsigned size) {
  StackReader reader(cpu, size);
  const std::uint64_t rip = reader.next();
  const auto selector = static_cast<std::uint16_t>(reader.next());
  const auto flags = static_cast<std::uint32_t>(reader.next());
  if (rip > cpu.state.segment[kCs].limit) cpu.raise_gp0();
  const bool v86 = cpu.virtual8086();
  std::uint32_t mask = v86 ? kUserFlags | kIf : kRealFlags;
  if (size == 2) mask &= kFlags16;
  cpu.set_stack_pointer(reader.pointer());
  cpu.rip() = rip;
  const Cpu::ModeChange change(cpu);
  cpu.set_segment(kCs, v86 ? virtual8086_segment(selector) : real_segment(cpu, kCs, selector));
  replace_flags(cpu, flags, mask);
}

void return_to_linked_task(Cpu& cpu) {
  const auto selector = cpu.load_system<std::uint16_t>(cpu.state.tr.base);
  if ((selector & 4) != 0 || null_selector(selector)) {
    cpu.raise(kInvalidTss, selector_error(selector));
  }
  const Descriptor tss = fetch_descriptor(cpu, selector, kInvalidTss);
  if (!tss.is_system(kTss16Busy) && !tss.is_system(kTss32Busy)) {
    cpu.raise(kInvalidTss, selector_error(selector));
  }
  if (!tss.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  switch_task_by_instruction(cpu, {selector, tss, TaskSwitchKind::interrupt_return});
}

void return_to_virtual8086(Cpu& cpu, StackReader& reader, std::uint64_t rip,
                           std::uint16_t code_selector, std::uint32_t flags) {
  const std::uint64_t sp = reader.next();
  const auto ss = static_cast<std::uint16_t>(reader.next());
  const auto es = static_cast<std::uint16_t>(reader.next());
  const auto ds = static_cast<std::uint16_t>(reader.next());
  const auto fs = static_cast<std::uint16_t>(reader.next());
  const auto gs = static_cast<std::uint16_t>(reader.next());
  if (rip > 0xffff) cpu.raise_gp0();
  const Cpu::ModeChange change(cpu);
  cpu.set_segment(kCs, virtual8086_segment(code_selector));
  cpu.set_segment(kSs, virtual8086_segment(ss));
  cpu.set_segment(kEs, virtual8086_segment(es));
  cpu.set_segment(kDs, virtual8086_segment(ds));
  cpu.set_segment(kFs, virtual8086_segment(fs));
  cpu.set_segment(kGs, virtual8086_segment(gs));
  cpu.set_reg<std::uint32_t>(kRsp, static_cast<std::uint32_t>(sp));
  cpu.rip() = rip;
  replace_flags(cpu, flags, kRealFlags | kVif | kVip | kVm);
  cpu.set_cpl(3);
}

void interrupt_return_protected(Cpu& cpu, unsigned size) {
  StackReader reader(cpu, size);
  const std::uint64_t rip = reader.next();
  const auto selector = static_cast<std::uint16_t>(reader.next());
  const auto flags = static_cast<std::uint32_t>(reader.next());
  if ((flags & kVm) != 0 && size == 4 && cpu.cpl() == 0 && !cpu.long_mode_active()) {
    return_to_virtual8086(cpu, reader, rip, selector, flags);
    return;
  }
  const Descriptor code = checked_return_code(cpu, selector);
  const unsigned cpl = requested_privilege(selector);
  const bool outer = cpl > cpu.cpl();
  const std::uint32_t mask = return_flags_mask(cpu, size);
  if (!outer && !cpu.long64()) {
    if (!valid_target(cpu, code, rip)) cpu.raise_gp0();
    mark_accessed(cpu, code);
    cpu.set_stack_pointer(reader.pointer());
    const Cpu::ModeChange change(cpu);
    replace_flags(cpu, flags, mask);
    enter_code(cpu, code, selector, cpl, rip);
    return;
  }
  // Outwards, and always in 64-bit mode: SS:RSP too.
  const std::uint64_t sp = reader.next();
  const auto stack_selector = static_cast<std::uint16_t>(reader.next());
  const StackTarget stack = checked_return_stack(cpu, stack_selector, sp, cpl, code);
  if (!valid_target(cpu, code, rip)) cpu.raise_gp0();
  mark_accessed(cpu, code);
  const Cpu::ModeChange change(cpu);
  install_stack(cpu, stack, sp);
  replace_flags(cpu, flags, mask);
  enter_code(cpu, code, selector, cpl, rip);
  if (outer) drop_privileged_segments(cpu, cpl);
}

}  // namespace

void far_return(Cpu& cpu, unsigned size, std::uint16_t release_bytes) {
  if (!cpu.protected_mode() || cpu.virtual8086()) {
    far_return_real(cpu, size, release_bytes);
    return;
  }
  StackReader reader(cpu, size);
  const std::uint64_t rip = reader.next();
  const auto selector = static_cast<std::uint16_t>(reader.next());
  const Descriptor code = checked_return_code(cpu, selector);
  const unsigned cpl = requested_privilege(selector);
  reader.skip(release_bytes);
  if (cpl == cpu.cpl()) {
    if (!valid_target(cpu, code, rip)) cpu.raise_gp0();
    mark_accessed(cpu, code);
    cpu.set_stack_pointer(reader.pointer());
    enter_code(cpu, code, selector, cpl, rip);
    return;
  }
  const std::uint64_t sp = reader.next();
  const auto stack_selector = static_cast<std::uint16_t>(reader.next());
  const StackTarget stack = checked_return_stack(cpu, stack_selector, sp, cpl, code);
  if (!valid_target(cpu, code, rip)) cpu.raise_gp0();
  mark_accessed(cpu, code);
  const Cpu::ModeChange change(cpu);
  install_stack(cpu, stack, sp + release_bytes);
  enter_code(cpu, code, selector, cpl, rip);
  drop_privileged_segments(cpu, cpl);
}

void interrupt_return(Cpu& cpu, unsigned size) {
  cpu.state.nmi_blocked = false;
  if (!cpu.protected_mode()) {
    interrupt_return_real(cpu, size);
    return;
  }
  if (cpu.virtual8086()) {
    if (cpu.flags.iopl() < 3) cpu.raise_gp0();
    interrupt_return_real(cpu, size);
    return;
  }
  if (cpu.flags.test(kNt)) {
    if (cpu.long_mode_active()) cpu.raise_gp0();
    return_to_linked_task(cpu);
    return;
  }
  interrupt_return_protected(cpu, size);
}

}  // namespace chronovisor
