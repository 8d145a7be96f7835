// Emission of the integer instructions. A function that returns false has emitted
// nothing; the instruction is then left to its handler. Where the manual leaves
// flags undefined they become what the handlers make of them.
#include <bit>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
constexpr int kAx = 15;  ///< the host's register of the guest's RAX
using Xbyak::Reg16;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;

constexpr unsigned kIfAboveEqual = 3, kIfZero = 4, kIfNotZero = 5, kIfBelowEqual = 6;

bool high(unsigned guest) { return (guest & kHighByte) != 0; }

bool writes(Operation op) { return op != Operation::cmp && op != Operation::test; }

bool logical(Operation op) {
  return op == Operation::and_ || op == Operation::or_ || op == Operation::xor_ ||
         op == Operation::test;
}

}  // namespace

bool BlockEmitter::try_emit(const Instruction& i) {
  if (i.row == kNoRow) return false;
  if (i.memory && (i.segment >= kSegmentCount || (i.base == kGprRip && i.address_size != 8))) {
    return false;
  }
  const RowEffects& e = row_effects(i.row);
  switch (e.operation) {
    case Operation::other:
      return sse(i) || floating(i);
    case Operation::nop:
      return true;
    case Operation::add:
    case Operation::or_:
    case Operation::adc:
    case Operation::sbb:
    case Operation::and_:
    case Operation::sub:
    case Operation::xor_:
    case Operation::cmp:
    case Operation::test:
      return alu(i, e);
    case Operation::inc:
    case Operation::dec:
    case Operation::not_:
    case Operation::neg:
      return unary(i, e);
    case Operation::mul:
    case Operation::imul_wide:
    case Operation::imul:
    case Operation::imul_immediate:
      return multiply(i, e);
    case Operation::div:
    case Operation::idiv:
      return divide(i, e);
    case Operation::rol:
    case Operation::ror:
    case Operation::shl:
    case Operation::shr:
    case Operation::sar:
      return shift(i, e);
    case Operation::shld:
    case Operation::shrd:
      return double_shift(i, e);
    case Operation::bt:
    case Operation::bts:
    case Operation::btr:
    case Operation::btc:
      return bit_test(i, e);
    case Operation::bsf:
    case Operation::bsr:
    case Operation::popcnt:
      return bit_scan(i, e);
    case Operation::bswap: {
      if (i.operand_size < 4) return false;
      before_write(i.reg);
      const Reg r = destination(i.reg, i.operand_size, kT1, true);
      a_.bswap(i.operand_size == 8 ? Xbyak::Reg32e(r.getIdx(), 64) : Xbyak::Reg32e(r.getIdx(), 32));
      finish_destination(i.reg, i.operand_size, kT1);
      after_write(i.reg);
      return true;
    }
    case Operation::mov:
    case Operation::mov_moffs:
      return move(i, e);
    case Operation::movzx8:
      return extend_move(i, 1, false);
    case Operation::movzx16:
      return extend_move(i, 2, false);
    case Operation::movsx8:
      return extend_move(i, 1, true);
    case Operation::movsx16:
      return extend_move(i, 2, true);
    case Operation::movsx32:
      return extend_move(i, 4, true);
    case Operation::lea:
      return lea(i);
    case Operation::convert:
    case Operation::extend:
      return convert(i, e);
    case Operation::xchg:
    case Operation::xchg_accumulator:
    case Operation::xadd:
      return exchange(i, e);
    case Operation::cmpxchg:
      return compare_exchange(i);
    case Operation::setcc:
    case Operation::cmovcc:
      return conditional(i, e);
    case Operation::cmc:
    case Operation::clc:
    case Operation::stc:
      return carry_flag(e);
    case Operation::push:
    case Operation::push_immediate:
      return push(i, e);
    case Operation::pop:
      return pop(i, e);
    case Operation::leave:
      return leave(i);
    case Operation::jcc:
    case Operation::jmp:
    case Operation::jmp_indirect:
    case Operation::call:
    case Operation::call_indirect:
    case Operation::ret:
    case Operation::ret_immediate:
      return branch(i, e);
    default:
      return false;
  }
}

// ---- two operands -----------------------------------------------------------------

void BlockEmitter::alu_operation(Operation op, const Operand& a, const Operand& b) {
  switch (op) {
    case Operation::add:
      a_.add(a, b);
      break;
    case Operation::or_:
      a_.or_(a, b);
      break;
    case Operation::adc:
      a_.adc(a, b);
      break;
    case Operation::sbb:
      a_.sbb(a, b);
      break;
    case Operation::and_:
      a_.and_(a, b);
      break;
    case Operation::sub:
      a_.sub(a, b);
      break;
    case Operation::xor_:
      a_.xor_(a, b);
      break;
    case Operation::cmp:
      a_.cmp(a, b);
      break;
    default:
      // TEST has no form with memory second.
      if (b.isMEM()) {
        a_.test(b, static_cast<const Reg&>(a));
      } else {
        a_.test(a, static_cast<const Reg&>(b));
      }
      break;
  }
}

void BlockEmitter::alu_immediate(Operation op, const Operand& a, std::uint32_t immediate) {
  switch (op) {
    case Operation::add:
      a_.add(a, immediate);
      break;
    case Operation::or_:
      a_.or_(a, immediate);
      break;
    case Operation::adc:
      a_.adc(a, immediate);
      break;
    case Operation::sbb:
      a_.sbb(a, immediate);
      break;
    case Operation::and_:
      a_.and_(a, immediate);
      break;
    case Operation::sub:
      a_.sub(a, immediate);
      break;
    case Operation::xor_:
      a_.xor_(a, immediate);
      break;
    case Operation::cmp:
      a_.cmp(a, immediate);
      break;
    default:
      a_.test(a, immediate);
      break;
  }
}

bool BlockEmitter::alu(const Instruction& i, const RowEffects& e) {
  const Operation op = e.operation;
  const unsigned bytes = i.operand_size;
  const bool with_carry = op == Operation::adc || op == Operation::sbb;
  const auto immediate = static_cast<std::uint32_t>(i.immediate);
  const bool has_immediate = e.form == Form::rm_immediate || e.form == Form::accumulator;
  if (with_carry && ((i.memory ? false : high(i.rm)) || high(i.reg))) return false;

  if (i.memory && e.form != Form::reg_rm) {
    settle();
    memory(i, bytes, writes(op) ? Access::write : Access::read);
    if (with_carry) carry_to_host();
    const auto target = Assembler::pointed(kT0, bytes);
    if (has_immediate) {
      alu_immediate(op, target, immediate);
    } else {
      alu_operation(op, target, value(i.reg, bytes, kT2));
    }
    set_by_host();
    return true;
  }

  unsigned guest = i.rm;
  if (e.form == Form::reg_rm) guest = i.reg;
  if (e.form == Form::accumulator) guest = kRax;
  const bool from_memory = i.memory;
  if (from_memory) {
    settle();
    memory(i, bytes, Access::read);
  }
  if (with_carry) carry_to_host();
  const Reg d = writes(op) || high(guest) || Assembler::pinned(guest)
                    ? destination(guest, bytes, kT1, true)
                    : value(guest, bytes, kT1);
  FlagRecipe recipe;
  recipe.size = static_cast<std::uint8_t>(bytes);
  recipe.a = static_cast<std::uint8_t>(guest);
  recipe.b = kGprZero;
  bool recipe_ok = !high(guest) && !with_carry;
  if (from_memory) {
    alu_operation(op, d, Assembler::pointed(kT0, bytes));
    recipe_ok = recipe_ok && logical(op) && writes(op);
    if (recipe_ok) recipe.b = recipe.a;
  } else if (has_immediate) {
    alu_immediate(op, d, immediate);
    recipe.immediate = immediate;
  } else {
    const unsigned other = e.form == Form::reg_rm ? i.rm : i.reg;
    alu_operation(op, d, value(other, bytes, kT2));
    if (high(other)) recipe_ok = false;
    recipe.b = static_cast<std::uint8_t>(other & 15);
    if (writes(op) && other == guest && !logical(op)) recipe_ok = false;
  }
  if (writes(op)) finish_destination(guest, bytes, kT1);
  switch (op) {
    case Operation::add:
      recipe.kind = FlagRecipe::Kind::add;
      break;
    case Operation::sub:
      recipe.kind = FlagRecipe::Kind::sub;
      break;
    case Operation::cmp:
      recipe.kind = FlagRecipe::Kind::cmp;
      break;
    case Operation::test:
      recipe.kind = FlagRecipe::Kind::test;
      break;
    case Operation::and_:
    case Operation::or_:
    case Operation::xor_:
      recipe.kind = FlagRecipe::Kind::test;
      recipe.b = recipe.a;
      break;
    default:
      break;
  }
  set_by_host(recipe_ok ? recipe : FlagRecipe{});
  return true;
}

bool BlockEmitter::unary(const Instruction& i, const RowEffects& e) {
  const Operation op = e.operation;
  const unsigned bytes = i.operand_size;
  const bool counts = op == Operation::inc || op == Operation::dec;
  const unsigned guest = e.form == Form::plus_register ? i.reg : i.rm;
  const bool keeps_carry = counts && (live_after() & kCf) != 0;
  const auto apply = [&](const Operand& target) {
    switch (op) {
      case Operation::inc:
        a_.inc(target);
        break;
      case Operation::dec:
        a_.dec(target);
        break;
      case Operation::not_:
        a_.not_(target);
        break;
      default:
        a_.neg(target);
        break;
    }
  };
  if (i.memory) {
    settle();
    memory(i, bytes, Access::write);
    if (keeps_carry) carry_to_host();
    apply(Assembler::pointed(kT0, bytes));
    if (op != Operation::not_) set_by_host();
    return true;
  }
  if (high(guest)) return false;
  if (op == Operation::not_) before_write(guest);
  if (keeps_carry) carry_to_host();
  apply(destination(guest, bytes, kT1, true));
  finish_destination(guest, bytes, kT1);
  if (op == Operation::not_) {
    after_write(guest);
    return true;
  }
  FlagRecipe recipe;
  if (op == Operation::neg) {
    recipe = {FlagRecipe::Kind::neg, static_cast<std::uint8_t>(bytes),
              static_cast<std::uint8_t>(guest), kGprZero, 0};
  }
  set_by_host(recipe);
  return true;
}

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

// ---- multiplication and division ------------------------------------------------------

/// CF and OF from the host's OF, SF and PF from `low`, ZF and AF 0; to memory.
void BlockEmitter::multiply_flags(const Reg& low) {
  if (live_after() == 0) {
    set_in_memory();
    return;
  }
  a_.seto(Reg8(kT1));
  a_.movzx(Reg32(kT1), Reg8(kT1));
  a_.test(low, low);
  a_.lahf();
  a_.and_(Reg32(kT0), (kSf | kPf) << 8);
  a_.or_(Reg32(kT0), Reg32(kT1));
  a_.shl(Reg32(kT1), 8);
  a_.or_(Reg32(kT0), Reg32(kT1));
  a_.mov(a_.at(layout_.raw_flags, 2), Reg16(kT0));
  set_in_memory();
}

bool BlockEmitter::multiply(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (e.operation == Operation::mul || e.operation == Operation::imul_wide) {
    if (bytes < 4) return false;
    if (i.memory) {
      settle();
      memory(i, bytes, Access::read);
      a_.mov(Assembler::sized(kT2, bytes), Assembler::pointed(kT0, bytes));
    } else {
      a_.mov(Assembler::sized(kT2, bytes), value(i.rm, bytes, kT2));
    }
    a_.mov(Assembler::sized(kT0, bytes), Assembler::sized(kAx, bytes));
    if (e.operation == Operation::mul) {
      a_.mul(Assembler::sized(kT2, bytes));
    } else {
      a_.imul(Assembler::sized(kT2, bytes));
    }
    a_.mov(Assembler::sized(kAx, bytes), Assembler::sized(kT0, bytes));
    multiply_flags(Assembler::sized(kAx, bytes));
    return true;
  }
  const Operand* source = nullptr;
  const auto pointed = Assembler::pointed(kT0, bytes);
  Reg in_register;
  if (i.memory) {
    settle();
    memory(i, bytes, Access::read);
    source = &pointed;
  } else {
    in_register = value(i.rm, bytes, kT2);
    source = &in_register;
  }
  const bool two = e.operation == Operation::imul;
  const Reg target = destination(i.reg, bytes, kT1, two);
  if (two) {
    a_.imul(target, *source);
  } else {
    a_.imul(target, *source, static_cast<int>(static_cast<std::int64_t>(i.immediate)));
  }
  if (Assembler::pinned(i.reg)) {
    multiply_flags(target);
    return true;
  }
  // T1 is wanted for the flags.
  a_.mov(Reg64(kT2), Reg64(kT1));
  finish_destination(i.reg, bytes, kT1);
  multiply_flags(Assembler::sized(kT2, bytes));
  return true;
}

/// The cases that cannot raise #DE; the others go to the handler.
bool BlockEmitter::divide(const Instruction& i, const RowEffects& e) {
  const unsigned bytes = i.operand_size;
  if (bytes < 4) return false;
  before_write(kRax);
  before_write(kRdx);
  settle();
  if (i.memory) {
    memory(i, bytes, Access::read);
    a_.mov(Assembler::sized(kT2, bytes), Assembler::pointed(kT0, bytes));
  } else {
    a_.mov(Assembler::sized(kT2, bytes), value(i.rm, bytes, kT2));
  }
  const Reg divisor = Assembler::sized(kT2, bytes);
  const Reg high_half = Assembler::sized(2, bytes);
  const Reg low_half = Assembler::sized(kAx, bytes);
  SlowWay& slow = slow_way();
  if (e.operation == Operation::div) {
    a_.cmp(high_half, divisor);
    slow.jumps.push_back(a_.jump_if(kIfAboveEqual));
    a_.mov(Assembler::sized(kT0, bytes), low_half);
    a_.div(divisor);
  } else {
    a_.mov(Assembler::sized(kT1, bytes), low_half);
    a_.sar(Assembler::sized(kT1, bytes), static_cast<int>(8 * bytes - 1));
    a_.cmp(Assembler::sized(kT1, bytes), high_half);
    slow.jumps.push_back(a_.jump_if(kIfNotZero));
    if (bytes == 8) {
      a_.lea(Reg64(kT1), a_.ptr[Reg64(kT2) + 1]);
    } else {
      a_.lea(Reg32(kT1), a_.ptr[Reg64(kT2) + 1]);
    }
    a_.cmp(Assembler::sized(kT1, bytes), 1);  // divisors -1 and 0
    slow.jumps.push_back(a_.jump_if(kIfBelowEqual));
    a_.mov(Assembler::sized(kT0, bytes), low_half);
    a_.idiv(divisor);
  }
  a_.mov(low_half, Assembler::sized(kT0, bytes));
  after_write(kRax);
  after_write(kRdx);
  return true;
}

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
