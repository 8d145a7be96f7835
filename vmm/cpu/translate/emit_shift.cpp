// Emission of shifts and rotations, and of what tests or finds bits. A function that
// returns false has emitted nothing; the instruction is then left to its handler.
// Where the manual leaves flags undefined they become what the handlers make of them.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg16;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;

}  // namespace

// ---- shifts -----------------------------------------------------------------------

bool BlockEmitter::shift(const Instruction& i, const RowEffects& e) {
  const Operation op = e.operation;
  const unsigned bytes = i.operand_size;
  const unsigned bits = 8 * bytes;
  const bool rotate = op == Operation::rol || op == Operation::ror;
  const bool by_cl = e.count == ShiftCount::cl;
  const unsigned count = e.count == ShiftCount::one
                             ? 1
                             : static_cast<unsigned>(i.immediate) & (bytes == 8 ? 63U : 31U);
  if (!by_cl && (count == 0 || count >= bits)) return false;
  if (!i.memory && high(i.rm)) return false;
  const bool flags_needed = live_after() != 0;
  if (by_cl && (bytes < 4 || (i.memory && flags_needed))) return false;
  if (rotate && flags_needed && (by_cl || i.memory)) return false;

  const auto apply = [&](const Operand& target) {
    switch (op) {
      case Operation::rol:
        by_cl ? a_.rol(target, Reg8(1)) : a_.rol(target, static_cast<int>(count));
        break;
      case Operation::ror:
        by_cl ? a_.ror(target, Reg8(1)) : a_.ror(target, static_cast<int>(count));
        break;
      case Operation::shl:
        by_cl ? a_.shl(target, Reg8(1)) : a_.shl(target, static_cast<int>(count));
        break;
      case Operation::shr:
        by_cl ? a_.shr(target, Reg8(1)) : a_.shr(target, static_cast<int>(count));
        break;
      default:
        by_cl ? a_.sar(target, Reg8(1)) : a_.sar(target, static_cast<int>(count));
        break;
    }
  };
  // OF to T1, as a shift by one of the value in T1 would make it.
  const auto overflow_from_t1 = [&] {
    const unsigned wide = bytes == 8 ? 8 : 4;
    const Reg t1 = Assembler::sized(kT1, wide);
    if (op == Operation::shl) {
      const Reg t2 = Assembler::sized(kT2, wide);
      a_.mov(t2, t1);
      a_.add(t2, t2);
      a_.xor_(t1, t2);
    }
    a_.shr(t1, static_cast<int>(bits - 1));
    if (bytes < 4) a_.and_(Reg32(kT1), 1);
  };
  const auto save = [&] {
    a_.lahf();
    a_.and_(Reg32(kT0), 0xef00);  // without AF and OF
    if (op != Operation::sar) a_.or_(Reg32(kT0), Reg32(kT1));
    a_.mov(a_.at(layout_.raw_flags, 2), Reg16(kT0));
  };

  if (i.memory) {
    settle();
    memory(i, bytes, Access::write);
    const auto target = Assembler::pointed(kT0, bytes);
    if (!flags_needed) {
      apply(target);
      set_in_memory();
      return true;
    }
    if (op != Operation::sar) {
      if (bytes < 4) {
        a_.movzx(Reg32(kT1), target);
      } else {
        a_.mov(Assembler::sized(kT1, bytes), target);
      }
      overflow_from_t1();
    }
    apply(target);
    save();
    set_in_memory();
    return true;
  }

  before_write(i.rm);
  if (!flags_needed) {
    apply(destination(i.rm, bytes, kT1, true));
    finish_destination(i.rm, bytes, kT1);
    after_write(i.rm);
    set_in_memory();
    return true;
  }
  if (rotate) {
    if ((live_in() & kArithmeticFlags) != 0) flags_to_memory();
    if (!Assembler::pinned(i.rm)) a_.mov(Reg64(kT2), a_.slot(i.rm, 8));
    const Reg target =
        Assembler::pinned(i.rm) ? Assembler::host(i.rm, bytes) : Assembler::sized(kT2, bytes);
    apply(target);
    // By an immediate that is not one, OF stays.
    if (count == 1) a_.seto(a_.at(layout_.raw_flags, 1));
    carry_into_memory();
    finish_destination(i.rm, bytes, kT2);
    after_write(i.rm);
    return true;
  }
  if (by_cl) {
    flags_to_memory();  // they stay if the count is 0
    if (!Assembler::pinned(i.rm)) a_.mov(Reg64(kT2), a_.slot(i.rm, 8));
    if (op != Operation::sar) {
      a_.mov(Reg64(kT1), Assembler::pinned(i.rm) ? Assembler::host(i.rm, 8) : Reg64(kT2));
      const bool spilled = !Assembler::pinned(i.rm);
      overflow_from_t1();  // uses T2 for SHL
      if (spilled) a_.mov(Reg64(kT2), a_.slot(i.rm, 8));
    }
    const Reg target =
        Assembler::pinned(i.rm) ? Assembler::host(i.rm, bytes) : Assembler::sized(kT2, bytes);
    if (bytes == 4) a_.mov(target, target);  // loses its upper half whatever the count
    a_.test(Reg8(1), bytes == 8 ? 63 : 31);
    const std::uint32_t none = a_.jump_if(kIfZero);
    apply(target);
    save();
    a_.land(none);
    finish_destination(i.rm, bytes, kT2);
    after_write(i.rm);
    set_in_memory();
    return true;
  }
  if (op != Operation::sar) {
    const Reg source = value(i.rm, bytes, kT1);
    if (bytes < 4) {
      a_.movzx(Reg32(kT1), source);
    } else {
      a_.mov(Assembler::sized(kT1, bytes), source);
    }
    overflow_from_t1();
  }
  apply(destination(i.rm, bytes, kT2, true));
  finish_destination(i.rm, bytes, kT2);
  save();
  after_write(i.rm);
  set_in_memory();
  return true;
}

bool BlockEmitter::double_shift(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (i.memory || bytes < 4 || live_after() != 0) return false;
  const unsigned count = static_cast<unsigned>(i.immediate) & (bytes == 8 ? 63U : 31U);
  const bool by_cl = e.count == ShiftCount::cl;
  if (!by_cl && count == 0) return false;
  before_write(i.rm);
  const Reg target = destination(i.rm, bytes, kT1, true);
  const Reg source = value(i.reg, bytes, kT2);
  if (by_cl && bytes == 4) a_.mov(target, target);
  if (e.operation == Operation::shld) {
    by_cl ? a_.shld(target, source, Reg8(1))
          : a_.shld(target, source, static_cast<std::uint8_t>(count));
  } else {
    by_cl ? a_.shrd(target, source, Reg8(1))
          : a_.shrd(target, source, static_cast<std::uint8_t>(count));
  }
  finish_destination(i.rm, bytes, kT1);
  after_write(i.rm);
  set_in_memory();
  return true;
}

// ---- bits -------------------------------------------------------------------------

bool BlockEmitter::bit_test(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  const bool immediate = e.form == Form::rm_immediate;
  if (i.memory && !immediate) return false;
  const bool modifies = e.operation != Operation::bt;
  const auto bit = static_cast<std::uint8_t>(i.immediate & (8 * bytes - 1));
  const auto apply = [&](const Operand& target) {
    const auto with = [&](auto&& second) {
      switch (e.operation) {
        case Operation::bt:
          a_.bt(target, second);
          break;
        case Operation::bts:
          a_.bts(target, second);
          break;
        case Operation::btr:
          a_.btr(target, second);
          break;
        default:
          a_.btc(target, second);
          break;
      }
    };
    if (immediate) {
      with(bit);
    } else {
      with(value(i.reg, bytes, kT1));
    }
  };
  if (live_in() != 0 || live_after() != 0) flags_to_memory();
  if (i.memory) {
    settle();
    memory(i, bytes, modifies ? Access::write : Access::read);
    apply(Assembler::pointed(kT0, bytes));
  } else {
    if (modifies) before_write(i.rm);
    const Reg target = modifies ? destination(i.rm, bytes, kT2, true) : value(i.rm, bytes, kT2);
    apply(target);
    if (modifies) finish_destination(i.rm, bytes, kT2);
  }
  if (live_after() != 0) {
    carry_into_memory();
  } else {
    set_in_memory();
  }
  if (!i.memory && modifies) after_write(i.rm);
  return true;
}

bool BlockEmitter::bit_scan(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (e.operation == Operation::popcnt && !__builtin_cpu_supports("popcnt")) return false;
  if (!i.memory) before_write(i.reg);
  if (i.memory) {
    settle();
    memory(i, bytes, Access::read);
    if (bytes == 2) {
      a_.movzx(Reg32(kT2), Assembler::pointed(kT0, 2));
    } else {
      a_.mov(Assembler::sized(kT2, bytes), Assembler::pointed(kT0, bytes));
    }
  } else {
    a_.mov(Reg64(kT2), value(i.rm, 8, kT2));
  }
  const Reg source = Assembler::sized(kT2, bytes);
  if (e.operation == Operation::popcnt) {
    a_.popcnt(Assembler::sized(kT1, bytes), source);
    write(i.reg, bytes, kT1);
    set_by_host();
    after_write(i.reg);
    return true;
  }
  const bool flags_needed = live_after() != 0;
  a_.test(source, source);
  const std::uint32_t zero = a_.jump_if(kIfZero);
  if (e.operation == Operation::bsf) {
    a_.bsf(Assembler::sized(kT1, bytes), source);
  } else {
    a_.bsr(Assembler::sized(kT1, bytes), source);
  }
  write(i.reg, bytes, kT1);
  if (!flags_needed) {
    a_.land(zero);
    set_in_memory();
    return true;
  }
  a_.test(Reg8(kT1), Reg8(kT1));
  a_.lahf();
  a_.and_(Reg32(kT0), kPf << 8);
  const std::uint32_t done = a_.jump();
  a_.land(zero);
  a_.mov(Reg32(kT0), (kZf | kPf) << 8);
  a_.land(done);
  a_.mov(a_.at(layout_.raw_flags, 2), Reg16(kT0));
  set_in_memory();
  return true;
}

}  // namespace chronovisor::translate
