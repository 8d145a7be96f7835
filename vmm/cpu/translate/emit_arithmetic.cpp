// Emission of integer arithmetic: one and two operands, multiplication, division. A function that
// returns false has emitted nothing; the instruction is then left to its handler.
// Where the manual leaves flags undefined they become what the handlers make of them.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
constexpr int kAx = kHostOf[kRax];
using Xbyak::Reg16;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;

bool writes(Operation op) { return op != Operation::cmp && op != Operation::test; }

bool logical(Operation op) {
  return op == Operation::and_ || op == Operation::or_ || op == Operation::xor_ ||
         op == Operation::test;
}

}  // namespace

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

}  // namespace chronovisor::translate
