// Emission of what a condition decides, jumps apart, and of the carry flag. A function that
// returns false has emitted nothing; the instruction is then left to its handler.
// Where the manual leaves flags undefined they become what the handlers make of them.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg32;
using Xbyak::Reg8;

}  // namespace

// ---- conditions -------------------------------------------------------------------

bool BlockEmitter::conditional(const Instruction& i, const RowEffects& e) {
  const unsigned code = i.opcode & 15U;
  const auto set = [&](const Operand& target, unsigned host_code) {
    switch (host_code) {
      case 0:
        a_.seto(target);
        break;
      case 1:
        a_.setno(target);
        break;
      case 2:
        a_.setb(target);
        break;
      case 3:
        a_.setae(target);
        break;
      case 4:
        a_.setz(target);
        break;
      case 5:
        a_.setnz(target);
        break;
      case 6:
        a_.setbe(target);
        break;
      case 7:
        a_.seta(target);
        break;
      case 8:
        a_.sets(target);
        break;
      case 9:
        a_.setns(target);
        break;
      case 10:
        a_.setp(target);
        break;
      case 11:
        a_.setnp(target);
        break;
      case 12:
        a_.setl(target);
        break;
      case 13:
        a_.setge(target);
        break;
      case 14:
        a_.setle(target);
        break;
      default:
        a_.setg(target);
        break;
    }
  };
  const auto move_if = [&](const Reg& target, const Operand& source, unsigned host_code) {
    switch (host_code) {
      case 0:
        a_.cmovo(target, source);
        break;
      case 1:
        a_.cmovno(target, source);
        break;
      case 2:
        a_.cmovb(target, source);
        break;
      case 3:
        a_.cmovae(target, source);
        break;
      case 4:
        a_.cmovz(target, source);
        break;
      case 5:
        a_.cmovnz(target, source);
        break;
      case 6:
        a_.cmovbe(target, source);
        break;
      case 7:
        a_.cmova(target, source);
        break;
      case 8:
        a_.cmovs(target, source);
        break;
      case 9:
        a_.cmovns(target, source);
        break;
      case 10:
        a_.cmovp(target, source);
        break;
      case 11:
        a_.cmovnp(target, source);
        break;
      case 12:
        a_.cmovl(target, source);
        break;
      case 13:
        a_.cmovge(target, source);
        break;
      case 14:
        a_.cmovle(target, source);
        break;
      default:
        a_.cmovg(target, source);
        break;
    }
  };
  if (e.operation == Operation::setcc) {
    if (i.memory) {
      settle();
      memory(i, 1, Access::write);
      const unsigned host_code = condition(code, true);
      set(Assembler::pointed(kT0, 1), host_code);
      return true;
    }
    before_write(i.rm);
    const unsigned host_code = condition(code, false);
    if (!high(i.rm) && Assembler::pinned(i.rm)) {
      set(Assembler::host(i.rm, 1), host_code);
    } else {
      set(Reg8(kT1), host_code);
      write(i.rm, 1, kT1);
    }
    after_write(i.rm);
    return true;
  }
  const unsigned bytes = i.operand_size;
  before_write(i.reg);
  Reg source;
  if (i.memory) {
    settle();
    memory(i, bytes, Access::read);
    if (bytes == 2) {
      a_.movzx(Reg32(kT0), Assembler::pointed(kT0, 2));
    } else {
      a_.mov(Assembler::sized(kT0, bytes), Assembler::pointed(kT0, bytes));
    }
    source = Assembler::sized(kT0, bytes);
  }
  const unsigned host_code = condition(code, i.memory);
  if (!i.memory) source = value(i.rm, bytes, kT2);
  const Reg target = destination(i.reg, bytes, kT1, true);
  move_if(target, source, host_code);
  finish_destination(i.reg, bytes, kT1);
  after_write(i.reg);
  return true;
}

bool BlockEmitter::carry_flag(const RowEffects& e) {
  if (live_after() == 0) {
    set_in_memory();
    return true;
  }
  flags_to_memory();
  const auto byte = a_.at(layout_.raw_flags + 1, 1);
  switch (e.operation) {
    case Operation::clc:
      a_.and_(byte, 0xfe);
      break;
    case Operation::stc:
      a_.or_(byte, 1);
      break;
    default:
      a_.xor_(byte, 1);
      break;
  }
  set_in_memory();
  return true;
}

}  // namespace chronovisor::translate
