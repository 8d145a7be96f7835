#include "vmm/cpu/interpret/system/far_transfer.h"

#include <array>

#include "vmm/cpu/interpret/system/stack_frame.h"
#include "vmm/cpu/interpret/system/task_switch.h"

namespace chronovisor {
namespace {

enum class Transfer : std::uint8_t { jump, call };

[[noreturn]] void raise_selector(const Cpu& cpu, std::uint16_t selector) {
  cpu.raise(kGeneralProtection, selector_error(selector));
}

/// Real and virtual-8086 mode: no descriptors.
void far_transfer_real(Cpu& cpu, const FarPointer& target, Transfer kind) {
  if (target.offset > cpu.state.segment[kCs].limit) cpu.raise_gp0();
  if (kind == Transfer::call) {
    StackFrame frame(cpu, current_stack(cpu), 0);
    frame.push(cpu.state.segment[kCs].selector, target.size);
    frame.push(cpu.rip(), target.size);
    frame.write();
    cpu.set_stack_pointer(frame.pointer());
  }
  cpu.rip() = target.offset;
  cpu.set_segment(kCs, cpu.virtual8086() ? virtual8086_segment(target.selector)
                                         : real_segment(cpu, kCs, target.selector));
}

void transfer_to_code(Cpu& cpu, const FarPointer& target, const Descriptor& code, Transfer kind) {
  const unsigned cpl = cpu.cpl();
  if (cpu.long_mode_active() && code.long_mode() && code.big()) {
    raise_selector(cpu, target.selector);
  }
  const bool allowed = code.conforming()
                           ? code.dpl() <= cpl
                           : requested_privilege(target.selector) <= cpl && code.dpl() == cpl;
  if (!allowed) raise_selector(cpu, target.selector);
  if (!code.present()) cpu.raise(kSegmentNotPresent, selector_error(target.selector));
  if (!valid_target(cpu, code, target.offset)) cpu.raise_gp0();
  if (kind == Transfer::call) {
    StackFrame frame(cpu, current_stack(cpu), 0);
    frame.push(cpu.state.segment[kCs].selector, target.size);
    frame.push(cpu.rip(), target.size);
    mark_accessed(cpu, code);
    frame.write();
    cpu.set_stack_pointer(frame.pointer());
  } else {
    mark_accessed(cpu, code);
  }
  enter_code(cpu, code, target.selector, cpl, target.offset);
}

/// What a call gate leads to.
struct GateTarget {
  Descriptor code;
  std::uint16_t selector = 0;
  std::uint64_t offset = 0;
  unsigned size = 4;
  bool inner = false;
};

GateTarget checked_gate_target(Cpu& cpu, const Descriptor& gate, Transfer kind) {
  GateTarget target;
  target.selector = gate.gate_selector();
  if (null_selector(target.selector)) cpu.raise_gp0();
  target.code = fetch_descriptor(cpu, target.selector);
  const Descriptor& code = target.code;
  const unsigned cpl = cpu.cpl();
  if (!code.code() || code.dpl() > cpl) raise_selector(cpu, target.selector);
  target.inner = !code.conforming() && code.dpl() < cpl;
  if (kind == Transfer::jump && target.inner) raise_selector(cpu, target.selector);
  const bool long_mode = cpu.long_mode_active();
  if (long_mode && (!code.long_mode() || code.big())) raise_selector(cpu, target.selector);
  if (!code.present()) cpu.raise(kSegmentNotPresent, selector_error(target.selector));
  if (gate.type() == kCallGate16) {
    target.offset = gate.gate_offset16();
    target.size = 2;
  } else {
    target.offset = gate.gate_offset();
    target.size = long_mode ? 8 : 4;
  }
  return target;
}

/// Copies the parameters of the caller's stack, which is still current.
void push_parameters(Cpu& cpu, StackFrame& frame, unsigned count, unsigned size) {
  std::array<std::uint64_t, 32> parameters{};
  StackReader reader(cpu, size);
  for (unsigned n = 0; n < count; ++n) parameters[n] = reader.next();
  for (unsigned n = count; n > 0; --n) frame.push(parameters[n - 1], size);
}

void call_inner(Cpu& cpu, const Descriptor& gate, const GateTarget& target) {
  const unsigned cpl = target.code.dpl();
  const bool long_mode = cpu.long_mode_active();
  const StackTarget stack =
      long_mode ? inner_stack_long(cpu, cpl, 0, 0) : inner_stack_legacy(cpu, cpl, 0);
  StackFrame frame(cpu, stack, long_mode ? 0 : selector_error(stack.ss.selector));
  frame.push(cpu.state.segment[kSs].selector, target.size);
  frame.push(cpu.gpr(kRsp), target.size);
  if (!long_mode) push_parameters(cpu, frame, gate.gate_parameters(), target.size);
  frame.push(cpu.state.segment[kCs].selector, target.size);
  frame.push(cpu.rip(), target.size);
  if (!valid_target(cpu, target.code, target.offset)) cpu.raise_gp0();
  mark_accessed(cpu, target.code);
  frame.write();
  const Cpu::ModeChange change(cpu);
  install_stack(cpu, stack, frame.pointer());
  enter_code(cpu, target.code, target.selector, cpl, target.offset);
}

void call_same(Cpu& cpu, const GateTarget& target) {
  StackTarget stack = current_stack(cpu);
  if (cpu.long_mode_active()) stack.width = 8;  // the gate leads to 64-bit code
  StackFrame frame(cpu, stack, 0);
  frame.push(cpu.state.segment[kCs].selector, target.size);
  frame.push(cpu.rip(), target.size);
  if (!valid_target(cpu, target.code, target.offset)) cpu.raise_gp0();
  mark_accessed(cpu, target.code);
  frame.write();
  set_stack_pointer_width(cpu, stack.width, frame.pointer());
  enter_code(cpu, target.code, target.selector, cpu.cpl(), target.offset);
}

void transfer_through_gate(Cpu& cpu, const Descriptor& gate, Transfer kind) {
  const GateTarget target = checked_gate_target(cpu, gate, kind);
  if (kind == Transfer::call && target.inner) {
    call_inner(cpu, gate, target);
  } else if (kind == Transfer::call) {
    call_same(cpu, target);
  } else {
    if (!valid_target(cpu, target.code, target.offset)) cpu.raise_gp0();
    mark_accessed(cpu, target.code);
    enter_code(cpu, target.code, target.selector, cpu.cpl(), target.offset);
  }
}

bool available_tss(const Descriptor& descriptor) {
  return descriptor.is_system(kTss16Available) || descriptor.is_system(kTss32Available);
}

void transfer_to_task(Cpu& cpu, std::uint16_t selector, const Descriptor& tss, Transfer kind) {
  if (!available_tss(tss)) raise_selector(cpu, selector);
  if (!tss.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  const TaskSwitchKind how = kind == Transfer::call ? TaskSwitchKind::call : TaskSwitchKind::jump;
  switch_task_by_instruction(cpu, {selector, tss, how});
}

void transfer_to_system_descriptor(Cpu& cpu, std::uint16_t selector, const Descriptor& descriptor,
                                   Transfer kind) {
  const unsigned type = descriptor.type();
  const bool long_mode = cpu.long_mode_active();
  const bool call_gate = type == kCallGate32 || (!long_mode && type == kCallGate16);
  const bool task_gate = !long_mode && type == kTaskGate;
  const bool tss = !long_mode && available_tss(descriptor);
  if (!call_gate && !task_gate && !tss) raise_selector(cpu, selector);
  // Bits 12:8 of the last doubleword of a 16-byte gate are a type that must be 0.
  if (long_mode && ((descriptor.high >> 40) & 0x1f) != 0) raise_selector(cpu, selector);
  if (descriptor.dpl() < cpu.cpl() || descriptor.dpl() < requested_privilege(selector)) {
    raise_selector(cpu, selector);
  }
  if (tss) {
    if ((selector & 4) != 0) raise_selector(cpu, selector);
    transfer_to_task(cpu, selector, descriptor, kind);
    return;
  }
  if (!descriptor.present()) cpu.raise(kSegmentNotPresent, selector_error(selector));
  if (call_gate) {
    transfer_through_gate(cpu, descriptor, kind);
    return;
  }
  const std::uint16_t tss_selector = descriptor.gate_selector();
  if ((tss_selector & 4) != 0 || null_selector(tss_selector)) raise_selector(cpu, tss_selector);
  transfer_to_task(cpu, tss_selector, fetch_descriptor(cpu, tss_selector), kind);
}

void far_transfer(Cpu& cpu, const FarPointer& target, Transfer kind) {
  if (!cpu.protected_mode() || cpu.virtual8086()) {
    far_transfer_real(cpu, target, kind);
    return;
  }
  if (null_selector(target.selector)) cpu.raise_gp0();
  const Descriptor descriptor = fetch_descriptor(cpu, target.selector);
  if (descriptor.code()) {
    transfer_to_code(cpu, target, descriptor, kind);
  } else if (!descriptor.code_or_data()) {
    transfer_to_system_descriptor(cpu, target.selector, descriptor, kind);
  } else {
    raise_selector(cpu, target.selector);
  }
}

}  // namespace

bool valid_target(const Cpu& cpu, const Descriptor& code, std::uint64_t rip) {
  if (cpu.long_mode_active() && code.long_mode()) return Cpu::canonical(rip);
  return rip <= code.limit();
}

void enter_code(Cpu& cpu, const Descriptor& code, std::uint16_t selector, unsigned cpl,
                std::uint64_t rip) {
  const Cpu::ModeChange change(cpu);
  cpu.set_segment(kCs, code.segment(static_cast<std::uint16_t>((selector & 0xfffcU) | cpl)));
  cpu.rip() = rip;
  cpu.set_cpl(cpl);
}

void far_jump(Cpu& cpu, const FarPointer& target) { far_transfer(cpu, target, Transfer::jump); }
void far_call(Cpu& cpu, const FarPointer& target) { far_transfer(cpu, target, Transfer::call); }

}  // namespace chronovisor
