// Emission of what moves values: moves, exchanges, the stack. A function that
// returns false has emitted nothing; the instruction is then left to its handler.
// Where the manual leaves flags undefined they become what the handlers make of them.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
constexpr int kAx = kHostOf[kRax];
using Xbyak::Reg32;
using Xbyak::Reg64;

}  // namespace

// ---- moves ------------------------------------------------------------------------

bool BlockEmitter::move(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (e.operation == Operation::mov_moffs) {
    const bool load = e.form == Form::reg_rm;
    if (load) before_write(kRax);
    settle();
    a_.mov(Reg64(kT0), i.immediate);
    check(i.segment, bytes, load ? Access::read : Access::write);
    if (load) {
      a_.mov(Assembler::host(kRax, bytes), Assembler::pointed(kT0, bytes));
      after_write(kRax);
    } else {
      a_.mov(Assembler::pointed(kT0, bytes), Assembler::host(kRax, bytes));
    }
    return true;
  }
  const auto immediate_to = [&](unsigned guest) {
    before_write(guest);
    std::uint64_t immediate = i.immediate;
    if (bytes < 8) immediate &= (1ULL << (8 * bytes)) - 1;
    if (!high(guest) && Assembler::pinned(guest)) {
      a_.mov(Assembler::host(guest, bytes), immediate);
    } else {
      a_.mov(Assembler::sized(kT1, bytes), immediate);
      write(guest, bytes, kT1);
    }
    after_write(guest);
  };
  switch (e.form) {
    case Form::plus_register:
      immediate_to(i.reg);
      return true;
    case Form::rm_immediate:
      if (!i.memory) {
        immediate_to(i.rm);
        return true;
      }
      settle();
      memory(i, bytes, Access::write);
      a_.mov(Assembler::pointed(kT0, bytes), static_cast<std::uint64_t>(i.immediate));
      return true;
    case Form::rm_reg:
      if (i.memory) {
        settle();
        memory(i, bytes, Access::write);
        a_.mov(Assembler::pointed(kT0, bytes), value(i.reg, bytes, kT2));
        return true;
      }
      before_write(i.rm);
      write(i.rm, bytes, value(i.reg, bytes, kT1).getIdx());
      after_write(i.rm);
      return true;
    case Form::reg_rm: {
      before_write(i.reg);
      if (!i.memory) {
        write(i.reg, bytes, value(i.rm, bytes, kT1).getIdx());
        after_write(i.reg);
        return true;
      }
      settle();
      memory(i, bytes, Access::read);
      a_.mov(destination(i.reg, bytes, kT1, false), Assembler::pointed(kT0, bytes));
      finish_destination(i.reg, bytes, kT1);
      after_write(i.reg);
      return true;
    }
    default:
      return false;
  }
}

bool BlockEmitter::extend_move(const Instruction& i, unsigned from, bool sign) {
  const unsigned bytes = i.operand_size;
  if (bytes <= from) return false;
  before_write(i.reg);
  const auto extend = [&](const Operand& source) {
    const Reg target = destination(i.reg, bytes, kT1, false);
    if (!sign) {
      a_.movzx(target, source);
    } else if (from == 4) {
      a_.movsxd(Reg64(target.getIdx()), source);
    } else {
      a_.movsx(target, source);
    }
    finish_destination(i.reg, bytes, kT1);
  };
  if (i.memory) {
    settle();
    memory(i, from, Access::read);
    extend(Assembler::pointed(kT0, from));
  } else {
    extend(value(i.rm, from, kT2));
  }
  after_write(i.reg);
  return true;
}

bool BlockEmitter::lea(const Instruction& i) {
  before_write(i.reg);
  offset_of(i);
  write(i.reg, i.operand_size, kT0);
  after_write(i.reg);
  return true;
}

bool BlockEmitter::convert(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (e.operation == Operation::convert) {
    before_write(kRax);
    if (bytes == 8) {
      a_.movsxd(Reg64(kAx), Reg32(kAx));
    } else {
      a_.movsx(Assembler::sized(kAx, bytes), Assembler::sized(kAx, bytes / 2));
    }
    after_write(kRax);
    return true;
  }
  before_write(kRdx);
  settle();
  a_.mov(Assembler::sized(2, bytes), Assembler::sized(kAx, bytes));
  a_.sar(Assembler::sized(2, bytes), static_cast<int>(8 * bytes - 1));
  after_write(kRdx);
  return true;
}

bool BlockEmitter::exchange(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (e.operation == Operation::xchg_accumulator) {
    if (i.reg == kRax) return true;
    before_write(kRax);
    before_write(i.reg);
    a_.mov(Reg64(kT1), Reg64(kAx));
    a_.mov(Assembler::host(kRax, bytes), value(i.reg, bytes, kT2));
    write(i.reg, bytes, kT1);
    after_write(kRax);
    after_write(i.reg);
    return true;
  }
  const bool add = e.operation == Operation::xadd;
  if (!i.memory) {
    if (add) return false;
    before_write(i.reg);
    before_write(i.rm);
    a_.mov(Assembler::sized(kT1, bytes), value(i.rm, bytes, kT1));
    a_.mov(Assembler::sized(kT2, bytes), value(i.reg, bytes, kT2));
    write(i.rm, bytes, kT2);
    write(i.reg, bytes, kT1);
    after_write(i.reg);
    after_write(i.rm);
    return true;
  }
  if (!add) before_write(i.reg);
  settle();
  memory(i, bytes, Access::write);
  a_.mov(Assembler::sized(kT2, bytes), value(i.reg, bytes, kT2));
  const Reg other = Assembler::sized(kT2, bytes);
  if (add) {
    a_.xadd(Assembler::pointed(kT0, bytes), other);
    write(i.reg, bytes, kT2);
    set_by_host();
    return true;
  }
  a_.mov(Assembler::sized(kT1, bytes), Assembler::pointed(kT0, bytes));
  a_.mov(Assembler::pointed(kT0, bytes), other);
  write(i.reg, bytes, kT1);
  after_write(i.reg);
  return true;
}

/// A 32-bit accumulator that is not written keeps its upper half.
bool BlockEmitter::compare_exchange(const Instruction& i) {
  if (!i.memory) return false;
  const unsigned bytes = i.operand_size;
  settle();
  memory(i, bytes, Access::write);
  a_.mov(Reg64(kT1), Reg64(kT0));
  a_.mov(Reg64(kT0), Reg64(kAx));
  a_.cmpxchg(Assembler::pointed(kT1, bytes), value(i.reg, bytes, kT2));
  a_.cmovnz(Reg64(kAx), Reg64(kT0));
  set_by_host();
  return true;
}

// ---- stack ------------------------------------------------------------------------

bool BlockEmitter::push(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (stack_width_ == 2 || i.memory) return false;
  before_write(kRsp);
  settle();
  stack_address(-static_cast<std::int32_t>(bytes));
  check(kSs, bytes, Access::write);
  const auto target = Assembler::pointed(kT0, bytes);
  if (e.operation == Operation::push_immediate) {
    a_.mov(target, static_cast<std::uint64_t>(i.immediate));
  } else {
    a_.mov(target, value(e.form == Form::plus_register ? i.reg : i.rm, bytes, kT2));
  }
  move_stack(-static_cast<std::int32_t>(bytes));
  after_write(kRsp);
  return true;
}

bool BlockEmitter::pop(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (stack_width_ == 2 || i.memory) return false;
  const unsigned guest = e.form == Form::plus_register ? i.reg : i.rm;
  before_write(kRsp);
  before_write(guest);
  settle();
  stack_address(0);
  check(kSs, bytes, Access::read);
  move_stack(static_cast<std::int32_t>(bytes));
  a_.mov(destination(guest, bytes, kT1, false), Assembler::pointed(kT0, bytes));
  finish_destination(guest, bytes, kT1);
  after_write(kRsp);
  after_write(guest);
  return true;
}

bool BlockEmitter::leave(const Instruction& i) {
  const unsigned bytes = i.operand_size;
  if (bytes != stack_width_ || stack_width_ == 2) return false;
  before_write(kRsp);
  before_write(kRbp);
  settle();
  const int rbp = kHostOf[kRbp];
  const int rsp = kHostOf[kRsp];
  a_.mov(Assembler::sized(kT0, bytes), Assembler::sized(rbp, bytes));
  check(kSs, bytes, Access::read);
  if (bytes == 8) {
    a_.lea(Reg64(rsp), a_.ptr[Reg64(rbp) + 8]);
  } else {
    a_.lea(Reg32(rsp), a_.ptr[Reg64(rbp) + 4]);
  }
  a_.mov(Assembler::sized(rbp, bytes), Assembler::pointed(kT0, bytes));
  after_write(kRsp);
  after_write(kRbp);
  return true;
}

}  // namespace chronovisor::translate
