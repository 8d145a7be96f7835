// Owns the declarations of the system instructions' handlers, for the table.
// One handler an instruction unless its comment says otherwise. One thread a
// machine.
#pragma once

#include "vmm/cpu/cpu.h"

namespace chronovisor::system_handlers {

/// Raises #GP(0) unless CPL is 0.
inline void require_cpl0(const Cpu& cpu) {
  if (cpu.cpl() != 0) cpu.raise_gp0();
}
/// User-mode instruction prevention: SGDT, SIDT, SLDT, STR and SMSW.
inline void require_no_umip(const Cpu& cpu) {
  if ((cpu.state.cr4 & kCr4Umip) != 0 && cpu.cpl() != 0) cpu.raise_gp0();
}
/// Writes a general register by an operand size of 2, 4 or 8 bytes.
inline void set_reg_sized(Cpu& cpu, unsigned index, unsigned size, std::uint64_t value) {
  if (size == 2) {
    cpu.set_reg<std::uint16_t>(index, static_cast<std::uint16_t>(value));
  } else if (size == 4) {
    cpu.set_reg<std::uint32_t>(index, static_cast<std::uint32_t>(value));
  } else {
    cpu.set_reg<std::uint64_t>(index, value);
  }
}
/// The 16-bit r/m operand of instructions that take a selector.
inline std::uint16_t selector_operand(Cpu& cpu, const Instruction& i) {
  return i.memory ? cpu.load_operand<std::uint16_t>(i) : cpu.reg<std::uint16_t>(i.rm);
}

// segment_instructions.cpp
void mov_from_segment(Cpu& cpu, const Instruction& i);
void mov_to_segment(Cpu& cpu, const Instruction& i);
void mov_to_ss(Cpu& cpu, const Instruction& i);
template <unsigned Segment>
void push_segment(Cpu& cpu, const Instruction& i);
template <unsigned Segment>
void pop_segment(Cpu& cpu, const Instruction& i);
template <unsigned Segment>
void load_far_pointer(Cpu& cpu, const Instruction& i);  // LES, LSS, LDS, LFS, LGS
void jmp_far_pointer(Cpu& cpu, const Instruction& i);
void jmp_far_memory(Cpu& cpu, const Instruction& i);
void call_far_pointer(Cpu& cpu, const Instruction& i);
void call_far_memory(Cpu& cpu, const Instruction& i);
void retf(Cpu& cpu, const Instruction& i);
void iret(Cpu& cpu, const Instruction& i);
void int_n(Cpu& cpu, const Instruction& i);
void int3(Cpu& cpu, const Instruction& i);
void into(Cpu& cpu, const Instruction& i);
void int1(Cpu& cpu, const Instruction& i);
void syscall(Cpu& cpu, const Instruction& i);
void sysret(Cpu& cpu, const Instruction& i);
void sysenter(Cpu& cpu, const Instruction& i);
void sysexit(Cpu& cpu, const Instruction& i);
void swapgs(Cpu& cpu, const Instruction& i);
template <unsigned Segment>
void read_base(Cpu& cpu, const Instruction& i);  // RDFSBASE, RDGSBASE
template <unsigned Segment>
void write_base(Cpu& cpu, const Instruction& i);  // WRFSBASE, WRGSBASE

// descriptor_instructions.cpp
template <bool Idt>
void load_table_register(Cpu& cpu, const Instruction& i);  // LGDT, LIDT
template <bool Idt>
void store_table_register(Cpu& cpu, const Instruction& i);  // SGDT, SIDT
void lldt(Cpu& cpu, const Instruction& i);
void sldt(Cpu& cpu, const Instruction& i);
void ltr(Cpu& cpu, const Instruction& i);
void str(Cpu& cpu, const Instruction& i);
void lar(Cpu& cpu, const Instruction& i);
void lsl(Cpu& cpu, const Instruction& i);
void verr(Cpu& cpu, const Instruction& i);
void verw(Cpu& cpu, const Instruction& i);
void arpl(Cpu& cpu, const Instruction& i);

// control_registers.cpp
void mov_from_control(Cpu& cpu, const Instruction& i);
void mov_to_control(Cpu& cpu, const Instruction& i);
void mov_from_debug(Cpu& cpu, const Instruction& i);
void mov_to_debug(Cpu& cpu, const Instruction& i);
void clts(Cpu& cpu, const Instruction& i);
void lmsw(Cpu& cpu, const Instruction& i);
void smsw(Cpu& cpu, const Instruction& i);
void xgetbv(Cpu& cpu, const Instruction& i);
void xsetbv(Cpu& cpu, const Instruction& i);
void invlpg(Cpu& cpu, const Instruction& i);
void invpcid(Cpu& cpu, const Instruction& i);

// port_io.cpp
template <class T>
void in_port(Cpu& cpu, const Instruction& i);  // port in DX
template <class T>
void in_immediate(Cpu& cpu, const Instruction& i);
template <class T>
void out_port(Cpu& cpu, const Instruction& i);
template <class T>
void out_immediate(Cpu& cpu, const Instruction& i);
template <class T>
void ins(Cpu& cpu, const Instruction& i);
template <class T>
void outs(Cpu& cpu, const Instruction& i);

// processor_control.cpp
void cpuid_instruction(Cpu& cpu, const Instruction& i);
void rdmsr(Cpu& cpu, const Instruction& i);
void wrmsr(Cpu& cpu, const Instruction& i);
void rdtsc(Cpu& cpu, const Instruction& i);
void rdtscp(Cpu& cpu, const Instruction& i);
void rdpmc(Cpu& cpu, const Instruction& i);
void random(Cpu& cpu, const Instruction& i);  // RDRAND, RDSEED
void hlt(Cpu& cpu, const Instruction& i);
void cli(Cpu& cpu, const Instruction& i);
void sti(Cpu& cpu, const Instruction& i);
void clac(Cpu& cpu, const Instruction& i);
void stac(Cpu& cpu, const Instruction& i);
void invalidate_caches(Cpu& cpu, const Instruction& i);  // INVD, WBINVD, WBNOINVD

}  // namespace chronovisor::system_handlers
