// Instructions that load, store or replace segment registers: moves, pushes
// and pops, far pointers, far transfers, interrupts, fast system calls, bases.
#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/events.h"
#include "vmm/cpu/interpret/system/far_return.h"
#include "vmm/cpu/interpret/system/far_transfer.h"
#include "vmm/cpu/interpret/system/fast_calls.h"
#include "vmm/cpu/interpret/system/stack_frame.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor::system_handlers {
namespace {

/// ModRM.reg as a segment register; REX.R is ignored.
unsigned segment_number(const Instruction& i) { return (i.modrm >> 3) & 7U; }

std::uint64_t load_sized(Cpu& cpu, unsigned segment, std::uint64_t offset, unsigned size) {
  switch (size) {
    case 2:
      return cpu.load<std::uint16_t>(segment, offset);
    case 4:
      return cpu.load<std::uint32_t>(segment, offset);
    default:
      return cpu.load<std::uint64_t>(segment, offset);
  }
}

/// The m16:16, m16:32 or m16:64 operand.
FarPointer memory_far_pointer(Cpu& cpu, const Instruction& i) {
  const std::uint64_t address = cpu.effective_address(i);
  FarPointer pointer;
  pointer.size = i.operand_size;
  pointer.offset = load_sized(cpu, i.segment, address, i.operand_size);
  const std::uint64_t behind = Cpu::cut(address + i.operand_size, i.address_size);
  pointer.selector = cpu.load<std::uint16_t>(i.segment, behind);
  return pointer;
}

FarPointer immediate_far_pointer(const Instruction& i) {
  return {i.immediate2, Cpu::cut(i.immediate, i.operand_size), i.operand_size};
}

void require_fsgsbase(const Cpu& cpu) {
  if ((cpu.state.cr4 & kCr4Fsgsbase) == 0) cpu.raise_ud();
}

}  // namespace

void mov_from_segment(Cpu& cpu, const Instruction& i) {
  const unsigned number = segment_number(i);
  if (number >= kSegmentCount) cpu.raise_ud();
  const std::uint16_t selector = cpu.state.segment[number].selector;
  if (i.memory) {
    cpu.store_operand<std::uint16_t>(i, selector);
  } else {
    set_reg_sized(cpu, i.rm, i.operand_size, selector);
  }
}

void mov_to_segment(Cpu& cpu, const Instruction& i) {
  load_segment(cpu, segment_number(i), selector_operand(cpu, i));
}

void mov_to_ss(Cpu& cpu, const Instruction& i) {
  load_segment(cpu, kSs, selector_operand(cpu, i));
  cpu.state.shadow = kMovSsShadow;
}

template <unsigned Segment>
void push_segment(Cpu& cpu, const Instruction& i) {
  const std::uint16_t selector = cpu.state.segment[Segment].selector;
  const std::uint64_t sp = Cpu::cut(cpu.gpr(kRsp) - i.operand_size, cpu.stack_width());
  if (i.operand_size == 8) {
    cpu.store<std::uint64_t>(kSs, sp, selector);
  } else {
    // With a 32-bit operand too only 16 bits are written, as Intel Core and Atom do.
    cpu.store<std::uint16_t>(kSs, sp, selector);
  }
  cpu.set_stack_pointer(sp);
}

template <unsigned Segment>
void pop_segment(Cpu& cpu, const Instruction& i) {
  const unsigned width = cpu.stack_width();
  const std::uint64_t sp = cpu.gpr(kRsp);
  // Only the selector's 2 bytes are read, whatever the operand size: measured on
  // an Intel Xeon, in user code, with the rest of the operand on an absent page.
  load_segment(cpu, Segment, cpu.load<std::uint16_t>(kSs, Cpu::cut(sp, width)));
  set_stack_pointer_width(cpu, width, sp + i.operand_size);
  if constexpr (Segment == kSs) cpu.state.shadow = kMovSsShadow;
}

template <unsigned Segment>
void load_far_pointer(Cpu& cpu, const Instruction& i) {
  const FarPointer pointer = memory_far_pointer(cpu, i);
  load_segment(cpu, Segment, pointer.selector);
  set_reg_sized(cpu, i.reg, i.operand_size, pointer.offset);
}

template void push_segment<kEs>(Cpu&, const Instruction&);
template void push_segment<kCs>(Cpu&, const Instruction&);
template void push_segment<kSs>(Cpu&, const Instruction&);
template void push_segment<kDs>(Cpu&, const Instruction&);
template void push_segment<kFs>(Cpu&, const Instruction&);
template void push_segment<kGs>(Cpu&, const Instruction&);
template void pop_segment<kEs>(Cpu&, const Instruction&);
template void pop_segment<kSs>(Cpu&, const Instruction&);
template void pop_segment<kDs>(Cpu&, const Instruction&);
template void pop_segment<kFs>(Cpu&, const Instruction&);
template void pop_segment<kGs>(Cpu&, const Instruction&);
template void load_far_pointer<kEs>(Cpu&, const Instruction&);
template void load_far_pointer<kSs>(Cpu&, const Instruction&);
template void load_far_pointer<kDs>(Cpu&, const Instruction&);
template void load_far_pointer<kFs>(Cpu&, const Instruction&);
template void load_far_pointer<kGs>(Cpu&, const Instruction&);

void jmp_far_pointer(Cpu& cpu, const Instruction& i) { far_jump(cpu, immediate_far_pointer(i)); }
void jmp_far_memory(Cpu& cpu, const Instruction& i) { far_jump(cpu, memory_far_pointer(cpu, i)); }
void call_far_pointer(Cpu& cpu, const Instruction& i) { far_call(cpu, immediate_far_pointer(i)); }
void call_far_memory(Cpu& cpu, const Instruction& i) { far_call(cpu, memory_far_pointer(cpu, i)); }

void retf(Cpu& cpu, const Instruction& i) {
  far_return(cpu, i.operand_size, static_cast<std::uint16_t>(i.immediate));
}
void iret(Cpu& cpu, const Instruction& i) { interrupt_return(cpu, i.operand_size); }

void int_n(Cpu& cpu, const Instruction& i) {
  software_interrupt(cpu, static_cast<std::uint8_t>(i.immediate), EventKind::software_interrupt);
}
void int3(Cpu& cpu, const Instruction& /*i*/) {
  software_interrupt(cpu, kBreakpoint, EventKind::software_exception);
}
void into(Cpu& cpu, const Instruction& /*i*/) {
  if (cpu.flags.of()) software_interrupt(cpu, kOverflow, EventKind::software_exception);
}
void int1(Cpu& cpu, const Instruction& /*i*/) {
  software_interrupt(cpu, kDebug, EventKind::privileged_trap);
}

void syscall(Cpu& cpu, const Instruction& /*i*/) { fast_syscall(cpu); }
void sysret(Cpu& cpu, const Instruction& i) { fast_sysret(cpu, i.operand_size); }
void sysenter(Cpu& cpu, const Instruction& /*i*/) { fast_sysenter(cpu); }
void sysexit(Cpu& cpu, const Instruction& i) { fast_sysexit(cpu, i.operand_size); }

void swapgs(Cpu& cpu, const Instruction& /*i*/) {
  require_cpl0(cpu);
  const std::uint64_t outside =
      std::exchange(cpu.state.msr.kernel_gs_base, cpu.state.segment[kGs].base);
  cpu.set_segment_base(kGs, outside);
}

template <unsigned Segment>
void read_base(Cpu& cpu, const Instruction& i) {
  require_fsgsbase(cpu);
  set_reg_sized(cpu, i.rm, i.operand_size, cpu.state.segment[Segment].base);
}

template <unsigned Segment>
void write_base(Cpu& cpu, const Instruction& i) {
  require_fsgsbase(cpu);
  const std::uint64_t base = Cpu::cut(cpu.gpr(i.rm), i.operand_size);
  if (!Cpu::canonical(base)) cpu.raise_gp0();
  cpu.set_segment_base(Segment, base);
}

template void read_base<kFs>(Cpu&, const Instruction&);
template void read_base<kGs>(Cpu&, const Instruction&);
template void write_base<kFs>(Cpu&, const Instruction&);
template void write_base<kGs>(Cpu&, const Instruction&);

}  // namespace chronovisor::system_handlers
