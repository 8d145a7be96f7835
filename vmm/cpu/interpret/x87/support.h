// Owns what all x87 handlers share: availability, pending exceptions, the
// last-instruction pointers, and the shorthand their table rows are written
// in. Knows no single instruction. One thread a machine.
//
// The pointers follow one policy on every host. FIP, FOP and (for memory
// operands) FDP are set by every non-control instruction, whether or not it
// raises an exception. FCS and FDS are always 0, as CPUID.7.EBX[13] announces.
// FIP and FDP are offsets; in real and virtual-8086 mode, where an offset
// without its segment would say nothing, they are linear addresses.
// Source: SDM vol. 1, "x87 FPU Instruction and Data (Operand) Pointers".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/x87/error_report.h"
#include "vmm/cpu/interpret/x87/stack.h"

namespace chronovisor::x87 {

/// #NM for CR0.EM or CR0.TS.
inline void check_available(Cpu& cpu) {
  if ((cpu.state.cr0 & (kCr0Em | kCr0Ts)) != 0) [[unlikely]] {
    cpu.raise(kDeviceNotAvailable);
  }
}
/// The start of a waiting instruction: also #MF for a pending exception, or
/// IRQ 13 with CR0.NE = 0.
inline X87State& begin(Cpu& cpu) {
  check_available(cpu);
  if ((cpu.state.x87.status & kSwSummary) != 0) [[unlikely]] {
    report_x87_error(cpu);
  }
  return cpu.state.x87;
}

/// Sets FIP, FOP and FDP. After everything that can fault.
inline void note_instruction(Cpu& cpu, const Instruction& i) {
  X87State& s = cpu.state.x87;
  const bool linear = cpu.mode() == CpuMode::real || cpu.mode() == CpuMode::virtual8086;
  s.last_opcode = static_cast<std::uint16_t>(((i.opcode & 7U) << 8) | i.modrm);
  s.last_ip = cpu.instruction_rip() + (linear ? cpu.state.segment[kCs].base : 0);
  if (i.memory) {
    s.last_dp = cpu.effective_address(i) + (linear ? cpu.state.segment[i.segment].base : 0);
  }
}

/// A row for memory operands (D8-DF /reg).
constexpr Row memory_row(std::string_view name, std::uint8_t opcode, int reg, Handler handler) {
  Row row;
  row.name = name;
  row.opcode = opcode;
  row.modrm = ModRm::memory;
  row.reg = static_cast<std::int8_t>(reg);
  row.attributes = kUserMode;
  row.handlers = all_forms(handler);
  return row;
}
/// A row for a register form; without `rm`, for all eight of ST(i).
constexpr Row register_row(std::string_view name, std::uint8_t opcode, int reg, Handler handler,
                           int rm = -1) {
  Row row = memory_row(name, opcode, reg, handler);
  row.modrm = ModRm::registers;
  row.rm = static_cast<std::int8_t>(rm);
  return row;
}

// The rows of each handler file.
std::span<const Row> control_instruction_rows();
std::span<const Row> transfer_rows();
std::span<const Row> arithmetic_rows();
std::span<const Row> comparison_rows();
std::span<const Row> transcendental_rows();

}  // namespace chronovisor::x87
