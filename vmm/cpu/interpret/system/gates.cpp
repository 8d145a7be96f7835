#include "vmm/cpu/interpret/system/gates.h"

#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/stack_frame.h"
#include "vmm/cpu/interpret/system/task_switch.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kIdtBit = 2;

std::uint32_t gate_error(const Event& event) { return event.vector * 8U + kIdtBit + event.ext(); }

std::uint32_t saved_flags(const Cpu& cpu, const Event& event) {
  return cpu.flags.value() | (event.resume_flag ? kRf : 0U);
}

void enter_real(Cpu& cpu, const Event& event) {
  const std::uint32_t offset = event.vector * 4U;
  if (offset + 3 > cpu.state.idtr.limit) cpu.raise(kGeneralProtection, gate_error(event));
  const auto vector = cpu.load_system<std::uint32_t>(cpu.state.idtr.base + offset);
  const auto selector = static_cast<std::uint16_t>(vector >> 16);
  const std::uint32_t target = vector & 0xffff;
  if (target > cpu.state.segment[kCs].limit) cpu.raise(kGeneralProtection, event.ext());
  StackFrame frame(cpu, current_stack(cpu), 0);
  frame.push(cpu.flags.value(), 2);
  frame.push(cpu.state.segment[kCs].selector, 2);
  frame.push(cpu.rip(), 2);
  frame.write();
  cpu.set_stack_pointer(frame.pointer());
  cpu.rip() = target;
  const Cpu::ModeChange change(cpu);
  cpu.set_segment(kCs, real_segment(cpu, kCs, selector));
  cpu.change_flags(kIf | kTf | kAc | kRf, 0);
  cpu.set_cpl(0);
}

/// The gate's target code segment, checked; the same in every protected mode.
Descriptor checked_handler_code(Cpu& cpu, std::uint16_t selector, std::uint32_t ext) {
  if (null_selector(selector)) cpu.raise(kGeneralProtection, ext);
  const Descriptor code = fetch_descriptor(cpu, selector, kGeneralProtection, ext);
  if (!code.code() || code.dpl() > cpu.cpl()) {
    cpu.raise(kGeneralProtection, selector_error(selector, ext));
  }
  if (cpu.long_mode_active() && (!code.long_mode() || code.big())) {
    cpu.raise(kGeneralProtection, selector_error(selector, ext));
  }
  if (!code.present()) cpu.raise(kSegmentNotPresent, selector_error(selector, ext));
  return code;
}

void clear_flags(Cpu& cpu, bool interrupt_gate) {
  cpu.change_flags(kTf | kNt | kRf | kVm | (interrupt_gate ? kIf : 0U), 0);
}

void install_code(Cpu& cpu, const Descriptor& code, std::uint16_t selector, unsigned cpl,
                  std::uint64_t target) {
  cpu.set_segment(kCs, code.segment(static_cast<std::uint16_t>((selector & 0xfffcU) | cpl)));
  cpu.rip() = target;
  cpu.set_cpl(cpl);
}

void enter_legacy_gate(Cpu& cpu, const Event& event, const Descriptor& gate) {
  const std::uint32_t ext = event.ext();
  const std::uint16_t selector = gate.gate_selector();
  const Descriptor code = checked_handler_code(cpu, selector, ext);
  const bool from_v86 = cpu.virtual8086();
  const bool inner = !code.conforming() && code.dpl() < cpu.cpl();
  if (from_v86 && (!inner || code.dpl() != 0)) {
    cpu.raise(kGeneralProtection, selector_error(selector, ext));
  }
  const bool gate32 = (gate.type() & 8U) != 0;
  const unsigned size = gate32 ? 4 : 2;
  const std::uint64_t target = gate32 ? gate.gate_offset() : gate.gate_offset16();
  const unsigned cpl = inner ? code.dpl() : cpu.cpl();
  const StackTarget stack = inner ? inner_stack_legacy(cpu, cpl, ext) : current_stack(cpu);
  StackFrame frame(cpu, stack, inner ? selector_error(stack.ss.selector, ext) : ext);
  const auto& segment = cpu.state.segment;
  if (from_v86) {
    for (const unsigned index : {kGs, kFs, kDs, kEs}) frame.push(segment[index].selector, size);
  }
  if (inner) {
    frame.push(segment[kSs].selector, size);
    frame.push(cpu.gpr(kRsp), size);
  }
  frame.push(saved_flags(cpu, event), size);
  frame.push(segment[kCs].selector, size);
  frame.push(cpu.rip(), size);
  if (event.error_code) frame.push(*event.error_code, size);
  if (target > code.limit()) cpu.raise(kGeneralProtection, ext);
  mark_accessed(cpu, code);
  frame.write();

  const Cpu::ModeChange change(cpu);
  if (from_v86) {
    for (const unsigned index : {kGs, kFs, kDs, kEs}) cpu.set_segment(index, null_segment(0));
  }
  install_stack(cpu, stack, frame.pointer());
  clear_flags(cpu, (gate.type() & 1U) == 0);
  install_code(cpu, code, selector, cpl, target);
}

void enter_long_gate(Cpu& cpu, const Event& event, const Descriptor& gate) {
  const std::uint32_t ext = event.ext();
  const std::uint16_t selector = gate.gate_selector();
  const Descriptor code = checked_handler_code(cpu, selector, ext);
  const std::uint64_t target = gate.gate_offset();
  if (!Cpu::canonical(target)) cpu.raise(kGeneralProtection, ext);
  const bool inner = !code.conforming() && code.dpl() < cpu.cpl();
  const unsigned cpl = inner ? code.dpl() : cpu.cpl();
  StackTarget stack{cpu.state.segment[kSs], cpu.gpr(kRsp), 8, cpl};
  if (inner || gate.gate_ist() != 0) {
    stack = inner_stack_long(cpu, cpl, gate.gate_ist(), ext);
    if (!inner) stack.ss = cpu.state.segment[kSs];
  }
  stack.sp &= ~std::uint64_t{15};
  StackFrame frame(cpu, stack, ext);
  frame.push(cpu.state.segment[kSs].selector, 8);
  frame.push(cpu.gpr(kRsp), 8);
  frame.push(saved_flags(cpu, event), 8);
  frame.push(cpu.state.segment[kCs].selector, 8);
  frame.push(cpu.rip(), 8);
  if (event.error_code) frame.push(*event.error_code, 8);
  mark_accessed(cpu, code);
  frame.write();

  const Cpu::ModeChange change(cpu);
  install_stack(cpu, stack, frame.pointer());
  clear_flags(cpu, (gate.type() & 1U) == 0);
  install_code(cpu, code, selector, cpl, target);
}

std::optional<GuestFault> enter_task_gate(Cpu& cpu, const Event& event, const Descriptor& gate) {
  const std::uint32_t ext = event.ext();
  const std::uint16_t selector = gate.gate_selector();
  if ((selector & 4) != 0 || null_selector(selector)) {
    cpu.raise(kGeneralProtection, selector_error(selector, ext));
  }
  const Descriptor tss = fetch_descriptor(cpu, selector, kGeneralProtection, ext);
  if (!tss.is_system(kTss16Available) && !tss.is_system(kTss32Available)) {
    cpu.raise(kGeneralProtection, selector_error(selector, ext));
  }
  if (!tss.present()) cpu.raise(kSegmentNotPresent, selector_error(selector, ext));
  return switch_task(
      cpu, {selector, tss, TaskSwitchKind::event, ext, event.resume_flag, event.error_code});
}

bool allowed_gate(unsigned type, bool long_mode) {
  if (type == kInterruptGate32 || type == kTrapGate32) return true;
  return !long_mode && (type == kInterruptGate16 || type == kTrapGate16 || type == kTaskGate);
}

}  // namespace

std::optional<GuestFault> enter_handler(Cpu& cpu, const Event& event) {
  if (!cpu.protected_mode()) {
    enter_real(cpu, event);
    return std::nullopt;
  }
  const bool long_mode = cpu.long_mode_active();
  const std::uint32_t entry_size = long_mode ? 16 : 8;
  const std::uint32_t offset = event.vector * entry_size;
  const DescriptorTableRegister& idtr = cpu.state.idtr;
  if (offset + entry_size - 1 > idtr.limit) cpu.raise(kGeneralProtection, gate_error(event));
  Descriptor gate;
  gate.address = idtr.base + offset;
  if (!long_mode) gate.address = static_cast<std::uint32_t>(gate.address);
  gate.low = cpu.load_system<std::uint64_t>(gate.address);
  if (long_mode) gate.high = cpu.load_system<std::uint32_t>(gate.address + 8);
  if (gate.code_or_data() || !allowed_gate(gate.type(), long_mode)) {
    cpu.raise(kGeneralProtection, gate_error(event));
  }
  if (event.from_program() && gate.dpl() < cpu.cpl()) {
    cpu.raise(kGeneralProtection, gate_error(event));
  }
  if (!gate.present()) cpu.raise(kSegmentNotPresent, gate_error(event));
  if (gate.type() == kTaskGate) return enter_task_gate(cpu, event, gate);
  if (long_mode) {
    enter_long_gate(cpu, event, gate);
  } else {
    enter_legacy_gate(cpu, event, gate);
  }
  return std::nullopt;
}

}  // namespace chronovisor
