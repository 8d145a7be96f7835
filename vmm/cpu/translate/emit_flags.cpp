// Where the guest's flags are while a block is emitted: in the host's, in memory, or as
// a recipe that makes them again.
#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;

}  // namespace

/// From the host's flags to memory; keeps the host's.
void BlockEmitter::save_flags() {
  a_.lahf();
  a_.seto(Reg8(kT0));
  a_.mov(a_.at(layout_.raw_flags, 2), Xbyak::Reg16(kT0));
}

/// From memory to the host's flags.
void BlockEmitter::load_flags() {
  a_.movzx(Reg32(kT0), a_.at(layout_.raw_flags, 2));
  a_.add(Reg8(kT0), 0x7f);  // OF comes from this
  a_.sahf();
}

void BlockEmitter::recompute() {
  const FlagRecipe& r = flags_.recipe;
  const auto operand = [&](auto&& with) {
    if (r.b == kGprZero) {
      with(nullptr);
    } else {
      const Reg b = value(r.b, r.size, kT2);
      with(&b);
    }
  };
  const Reg t = Assembler::sized(kT1, r.size);
  switch (r.kind) {
    case FlagRecipe::Kind::none:
      CHECK_THAT(false, "flags that are nowhere");
      break;
    case FlagRecipe::Kind::cmp:
    case FlagRecipe::Kind::test: {
      const Reg a = value(r.a, r.size, kT1);
      const Operation op = r.kind == FlagRecipe::Kind::cmp ? Operation::cmp : Operation::test;
      operand([&](const Reg* b) {
        if (b != nullptr) {
          alu_operation(op, a, *b);
        } else {
          alu_immediate(op, a, r.immediate);
        }
      });
      break;
    }
    case FlagRecipe::Kind::add:
    case FlagRecipe::Kind::sub: {
      const bool add = r.kind == FlagRecipe::Kind::add;
      a_.mov(Assembler::sized(kT1, 8), value(r.a, 8, kT1));
      operand([&](const Reg* b) {
        if (b != nullptr) {
          alu_operation(add ? Operation::sub : Operation::add, t, *b);
          alu_operation(add ? Operation::add : Operation::sub, t, *b);
        } else {
          alu_immediate(add ? Operation::sub : Operation::add, t, r.immediate);
          alu_immediate(add ? Operation::add : Operation::sub, t, r.immediate);
        }
      });
      break;
    }
    case FlagRecipe::Kind::neg:
      a_.mov(Assembler::sized(kT1, 8), value(r.a, 8, kT1));
      a_.neg(t);
      a_.neg(t);
      break;
  }
  flags_.host = true;
}

void BlockEmitter::flags_to_memory() {
  if (flags_.memory) return;
  if (!flags_.host) recompute();
  save_flags();
  flags_.memory = true;
}

/// Before something that destroys the host's flags.
void BlockEmitter::settle() {
  if (live_in() == 0) {
    set_in_memory();  // nobody looks
    return;
  }
  if (flags_.host && !flags_.memory && flags_.recipe.kind == FlagRecipe::Kind::none) {
    flags_to_memory();
  }
  flags_.host = false;
}

/// Before `guest` changes, and before RAX is in use: flags that are made from it.
void BlockEmitter::before_write(unsigned guest) {
  guest &= 15;
  if (!flags_.recipe.uses(guest) || flags_.memory) return;
  const std::uint32_t kept = live_after() & ~written_by(block_.instructions[index_]);
  if (kept == 0) return;
  if (flags_.host) {
    flags_.recipe = {};  // whoever destroys the host's flags saves them
  } else {
    flags_to_memory();
  }
}
void BlockEmitter::after_write(unsigned guest) {
  if (!flags_.recipe.uses(guest & 15U)) return;
  flags_.recipe = {};
  if (!flags_.host) flags_.memory = true;  // as before_write left it, or nobody looks
}

void BlockEmitter::set_by_host(FlagRecipe recipe) { flags_ = {true, false, recipe}; }
void BlockEmitter::set_in_memory() { flags_ = {false, true, {}}; }

/// CF into the host's flags, which lose the others. Uses the second and third temporary.
void BlockEmitter::carry_to_host() {
  if (flags_.host) return;
  if (flags_.memory) {
    a_.bt(a_.at(layout_.raw_flags, 4), 8);
  } else {
    recompute();
  }
}

/// Makes a host condition that holds when the guest's condition `code` does.
unsigned BlockEmitter::condition(unsigned code, bool keep_t0) {
  if (flags_.host) return code;
  if (!flags_.memory) {
    recompute();
    return code;
  }
  const auto test = [&](std::int32_t byte, unsigned mask) {
    a_.test(a_.at(layout_.raw_flags + byte, 1), mask);
    return (code & 1) != 0 ? kIfZero : kIfNotZero;
  };
  switch (code >> 1) {
    case 0:
      return test(0, 1);
    case 1:
      return test(1, kCf);
    case 2:
      return test(1, kZf);
    case 3:
      return test(1, kCf | kZf);
    case 4:
      return test(1, kSf);
    case 5:
      return test(1, kPf);
    default:
      break;
  }
  if (keep_t0) a_.mov(Reg64(kT1), Reg64(kT0));
  load_flags();
  if (keep_t0) a_.mov(Reg64(kT0), Reg64(kT1));
  return code;
}

/// The host's CF into the flags in memory; the host's are lost. Uses T1.
void BlockEmitter::carry_into_memory() {
  a_.setc(Reg8(kT1));
  a_.and_(a_.at(layout_.raw_flags + 1, 1), 0xfe);
  a_.or_(a_.at(layout_.raw_flags + 1, 1), Reg8(kT1));
  set_in_memory();
}

}  // namespace chronovisor::translate
