// Owns what an instruction reads and writes, by its row and operands: registers,
// flags, memory, and whether it can fault. Made once from the table; serves the
// translator and tests. Immutable; any thread.
#pragma once

#include <cstdint>

#include "vmm/cpu/code/instruction.h"

namespace chronovisor {

/// What kind of operation a row is, for whoever treats all its forms alike.
enum class Operation : std::uint8_t {
  other,  ///< known by its handler alone
  nop,
  // op rm, reg; op reg, rm; op acc, imm; op rm, imm
  add,
  or_,
  adc,
  sbb,
  and_,
  sub,
  xor_,
  cmp,
  test,
  inc,
  dec,
  not_,
  neg,
  mul,
  imul_wide,
  imul,
  imul_immediate,
  div,
  idiv,
  rol,
  ror,
  rcl,
  rcr,
  shl,
  shr,
  sar,
  shld,
  shrd,
  bt,
  bts,
  btr,
  btc,
  bsf,
  bsr,
  popcnt,
  bswap,
  mov,
  movzx8,
  movzx16,
  movsx8,
  movsx16,
  movsx32,
  lea,
  mov_moffs,
  convert,
  extend,
  xchg,
  xchg_accumulator,
  xadd,
  cmpxchg,
  cmpxchg8b,
  setcc,
  cmovcc,
  cmc,
  clc,
  stc,
  lahf,
  sahf,
  jcc,
  jmp,
  jmp_indirect,
  call,
  call_indirect,
  ret,
  ret_immediate,
  loop,
  jcxz,
  push,
  push_immediate,
  pop,
  leave,
};

/// How the operands of a two-operand row lie.
enum class Form : std::uint8_t {
  none,
  rm_reg,         ///< rm is the destination
  reg_rm,         ///< reg is the destination
  rm_immediate,   ///< rm and an immediate
  accumulator,    ///< rAX and an immediate
  rm,             ///< rm alone
  plus_register,  ///< the register in the opcode (reg)
};
enum class ShiftCount : std::uint8_t { none, one, immediate, cl };

struct RowEffects {
  Operation operation = Operation::other;
  Form form = Form::none;
  ShiftCount count = ShiftCount::none;
  std::uint32_t flags_read = 0;
  std::uint32_t flags_written = 0;  ///< always written
  std::uint32_t flags_maybe = 0;    ///< written in some cases, kept in others
};

/// Effects of each row of the instruction table, and of kNoRow.
const RowEffects& row_effects(std::uint16_t row);

/// What one decoded instruction does, as far as its operation is known.
struct InstructionEffects {
  bool known = false;  ///< false: it may do anything (Operation::other)
  /// General registers, one bit each. A register of which only a part is written is
  /// read as well; one that is written in some cases is in both.
  std::uint16_t registers_read = 0;
  std::uint16_t registers_written = 0;
  std::uint32_t flags_read = 0;
  std::uint32_t flags_written = 0;  ///< always
  std::uint32_t flags_maybe = 0;
  bool memory_read = false;
  bool memory_written = false;
  bool may_fault = false;
  bool ends_block = false;
};
InstructionEffects instruction_effects(const Instruction& instruction);

}  // namespace chronovisor
