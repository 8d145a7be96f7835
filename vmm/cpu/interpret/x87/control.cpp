#include <array>

#include "vmm/cpu/interpret/x87/memory_image.h"
#include "vmm/cpu/interpret/x87/support.h"

// The control instructions, and those that only move the stack about.
// Source: SDM vol. 2A, "FCLEX" to "FXRSTOR"; vol. 1, 8.1.

namespace chronovisor::x87 {
namespace {

void load_control(X87State& s, unsigned value) {
  s.control = static_cast<std::uint16_t>((value & kCwWritable) | kCwReservedOne);
  update_summary(s);
}

void fwait(Cpu& cpu, const Instruction& /*i*/) {
  constexpr std::uint64_t kBoth = kCr0Mp | kCr0Ts;
  if ((cpu.state.cr0 & kBoth) == kBoth) cpu.raise(kDeviceNotAvailable);
  if ((cpu.state.x87.status & kSwSummary) != 0) report_x87_error(cpu);
}

void fninit(Cpu& cpu, const Instruction& /*i*/) {
  check_available(cpu);
  initialize(cpu.state.x87);
  settle_error_line(cpu);
}

void fnclex(Cpu& cpu, const Instruction& /*i*/) {
  check_available(cpu);
  constexpr unsigned kCleared = kSwExceptions | kSwStackFault | kSwSummary | kSwBusy;
  cpu.state.x87.status = static_cast<std::uint16_t>(cpu.state.x87.status & ~kCleared);
  settle_error_line(cpu);
}

/// FNENI, FNDISI and FNSETPM mean nothing since the 80387.
void no_effect(Cpu& cpu, const Instruction& /*i*/) { check_available(cpu); }

void fldcw(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  load_control(s, cpu.load_operand<std::uint16_t>(i));
  settle_error_line(cpu);
}
void fnstcw(Cpu& cpu, const Instruction& i) {
  check_available(cpu);
  cpu.store_operand<std::uint16_t>(i, cpu.state.x87.control);
}
void fnstsw(Cpu& cpu, const Instruction& i) {
  check_available(cpu);
  cpu.store_operand<std::uint16_t>(i, cpu.state.x87.status);
}
void fnstsw_ax(Cpu& cpu, const Instruction& /*i*/) {
  check_available(cpu);
  std::uint64_t& rax = cpu.state.gpr[kRax];
  rax = (rax & ~0xffffULL) | cpu.state.x87.status;
}

void fnstenv(Cpu& cpu, const Instruction& i) {
  check_available(cpu);
  store_environment(cpu, i);
  load_control(cpu.state.x87, cpu.state.x87.control | kCwMasks);
  settle_error_line(cpu);
}
void fldenv(Cpu& cpu, const Instruction& i) {
  begin(cpu);
  load_environment(cpu, i);
  settle_error_line(cpu);
}
void fnsave(Cpu& cpu, const Instruction& i) {
  check_available(cpu);
  store_all(cpu, i);
  initialize(cpu.state.x87);
  settle_error_line(cpu);
}
void frstor(Cpu& cpu, const Instruction& i) {
  begin(cpu);
  load_all(cpu, i);
  settle_error_line(cpu);
}

void fnop(Cpu& cpu, const Instruction& i) {
  begin(cpu);
  note_instruction(cpu, i);
}
/// FDECSTP and FINCSTP.
template <unsigned Step>
void move_top(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  set_top(s, top(s) + Step);
  set_conditions(s, kSwC1, 0);
}
/// FFREE; FFREEP also pops.
template <bool Pop>
void ffree(Cpu& cpu, const Instruction& i) {
  X87State& s = begin(cpu);
  note_instruction(cpu, i);
  set_tag(s, i.modrm & 7U, kTagEmpty);
  set_conditions(s, kSwC1, 0);
  if constexpr (Pop) pop(s);
}

Row fwait_row() {
  Row row;
  row.name = "fwait";
  row.opcode = 0x9b;
  row.attributes = kUserMode;
  row.handlers = all_forms(&fwait);
  return row;
}

}  // namespace

std::span<const Row> control_instruction_rows() {
  static const std::array kRows{
      fwait_row(),
      memory_row("fldenv", 0xd9, 4, &fldenv),
      memory_row("fldcw m16", 0xd9, 5, &fldcw),
      memory_row("fnstenv", 0xd9, 6, &fnstenv),
      memory_row("fnstcw m16", 0xd9, 7, &fnstcw),
      memory_row("frstor", 0xdd, 4, &frstor),
      memory_row("fnsave", 0xdd, 6, &fnsave),
      memory_row("fnstsw m16", 0xdd, 7, &fnstsw),
      register_row("fnop", 0xd9, 2, &fnop, 0),
      register_row("fdecstp", 0xd9, 6, &move_top<7>, 6),
      register_row("fincstp", 0xd9, 6, &move_top<1>, 7),
      register_row("fneni", 0xdb, 4, &no_effect, 0),
      register_row("fndisi", 0xdb, 4, &no_effect, 1),
      register_row("fnclex", 0xdb, 4, &fnclex, 2),
      register_row("fninit", 0xdb, 4, &fninit, 3),
      register_row("fnsetpm", 0xdb, 4, &no_effect, 4),
      register_row("ffree st(i)", 0xdd, 0, &ffree<false>),
      register_row("ffreep st(i)", 0xdf, 0, &ffree<true>),
      register_row("fnstsw ax", 0xdf, 4, &fnstsw_ax, 0),
  };
  return kRows;
}

}  // namespace chronovisor::x87
