#include "vmm/cpu/translate/block_emitter.h"

#include "vmm/cpu/code/decoder.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::Reg8;
using Xbyak::RegExp;

/// Conditions as in Jcc.
constexpr unsigned kIfCarry = 2, kIfNotZero = 5, kIfZero = 4, kIfAbove = 7, kIfSign = 8,
                   kIfAboveEqual = 3, kIfBelowEqual = 6;

}  // namespace

BlockEmitter::BlockEmitter(Translator& translator, Assembler& assembler, Translation& translation)
    : translator_(translator),
      a_(assembler),
      layout_(assembler.layout),
      translation_(translation),
      block_(*translation.block),
      long64_((translation.key & kKeyLong64) != 0),
      flat_((translation.key & kKeyFlat) != 0),
      stack_width_((translation.key & kKeyStack8) != 0   ? 8
                   : (translation.key & kKeyStack4) != 0 ? 4
                                                         : 2) {}

/// Which flags may be looked at from each instruction on. Whatever touches memory
/// or runs a handler may fault, and then all of them are seen.
void BlockEmitter::analyse() {
  const std::size_t count = block_.instructions.size();
  live_in_.assign(count + 1, kArithmeticFlags);
  for (std::size_t k = count; k-- > 0;) {
    const Instruction& i = block_.instructions[k];
    const RowEffects& e = row_effects(i.row);
    std::uint32_t live = (live_in_[k + 1] & ~written_by(i)) | e.flags_read;
    bool can_leave = i.memory;
    switch (e.operation) {
      case Operation::other:
      case Operation::div:
      case Operation::idiv:
      case Operation::mov_moffs:
      case Operation::push:
      case Operation::push_immediate:
      case Operation::pop:
      case Operation::leave:
      case Operation::lahf:
      case Operation::sahf:
      case Operation::loop:
      case Operation::jcxz:
        can_leave = true;
        break;
      case Operation::lea:
      case Operation::nop:
        can_leave = false;
        break;
      default:
        break;
    }
    if (can_leave) live |= kArithmeticFlags;
    live_in_[k] = live;
  }
}

/// Flags that `i` gives new values whatever its operands are.
std::uint32_t BlockEmitter::written_by(const Instruction& i) const {
  const RowEffects& e = row_effects(i.row);
  const bool through_carry = e.operation == Operation::rcl || e.operation == Operation::rcr;
  if (e.count != ShiftCount::immediate || through_carry) return e.flags_written;
  const unsigned count = static_cast<unsigned>(i.immediate) & (i.operand_size == 8 ? 63U : 31U);
  if (count == 0) return 0;
  const bool keeps_overflow =
      (e.operation == Operation::rol || e.operation == Operation::ror) && count != 1;
  return keeps_overflow ? e.flags_maybe & ~std::uint32_t{kOf} : e.flags_maybe;
}

void BlockEmitter::emit() {
  analyse();
  emit_entry();
  for (index_ = 0; index_ < block_.instructions.size(); ++index_) emit_one(index_);
  if (!ended_) emit_end();
  // What seldom runs lies apart, so that what runs lies close together.
  const std::uint32_t end = a_.here();
  a_.setSize(translator_.cold_next_);
  emit_cold();
  translator_.cold_next_ = a_.here();
  a_.setSize(end);
}

void BlockEmitter::emit_entry() {
  a_.sub(Reg64(Assembler::kBudget), translation_.steps);
  budget_jump_ = a_.jump_if(kIfSign);
  if (translator_.observed_) {
    translation_.tell_at = a_.here();
    (void)a_.jump();  // to the stub; a NOP once told
    tell_back_ = a_.here();
  }
}

void BlockEmitter::emit_one(unsigned index) {
  const Instruction& i = block_.instructions[index];
  const std::uint32_t attributes = row_attributes(i);
  slow_open_ = false;
  if (try_emit(i)) {
    if (slow_open_) {
      slow_.back().after = flags_;
      slow_.back().resume = a_.here();
    }
    return;
  }
  CHECK_THAT(!slow_open_, "an instruction that was half emitted");
  const bool repeats = (attributes & kString) != 0 && i.repeat != 0;
  emit_handler((attributes & kEndsBlock) != 0 || (repeats && !flat_));
}

// ---- leaving to handlers ----------------------------------------------------------

std::uint32_t BlockEmitter::site(unsigned index, bool flags_in, bool flags_out, bool last) {
  translator_.sites_.push_back(
      {translation_.number, static_cast<std::uint16_t>(index), flags_in, flags_out, last});
  return static_cast<std::uint32_t>(translator_.sites_.size() - 1);
}

void BlockEmitter::emit_handler(bool last) {
  const RowEffects& e = row_effects(block_.instructions[index_].row);
  flags_to_memory();
  const std::uint32_t number =
      site(index_,
           e.flags_read != 0 || e.flags_maybe != 0 ||
               (e.flags_written != 0 && e.flags_written != kArithmeticFlags),
           e.flags_written != 0 || e.flags_maybe != 0, last);
  a_.mov(Reg32(kT0), number);
  if (last) {
    a_.jump_to(translator_.execute_last_);
    ended_ = true;
    return;
  }
  a_.call_to(translator_.execute_);
  set_in_memory();
}

/// Begins the slow way of the present instruction: its handler executes all of it.
BlockEmitter::SlowWay& BlockEmitter::slow_way() {
  if (!slow_open_) {
    slow_.push_back({});
    slow_.back().before = flags_;
    slow_.back().index = index_;
    slow_open_ = true;
  }
  return slow_.back();
}

void BlockEmitter::exit_with(Exit reason) {
  a_.mov(Reg32(kT0), static_cast<std::uint32_t>(reason));
  a_.jump_to(translator_.exit_);
}

void BlockEmitter::emit_cold() {
  for (const FarWay& far : far_) {
    a_.land(far.jump);
    load_rip(far.page_offset);
    std::vector<std::uint32_t> misses;
    look_up(misses);
    enter_found();
    for (const std::uint32_t miss : misses) a_.land(miss);
    a_.mov(Reg32(kT0), site(far.index, true, false, true));
    a_.jump_to(translator_.execute_last_);
  }
  for (SlowWay& way : slow_) {
    for (const Refill& refill : way.refills) {
      a_.land(refill.jump);
      a_.mov(Reg32(kT1), refill.bytes | (refill.access == Access::write ? kRefillForWrite : 0U));
      a_.call_to(translator_.refill_);
      a_.set_distance(a_.jump_if(kIfNotZero), refill.again);
      if (&refill != &way.refills.back()) way.jumps.push_back(a_.jump());
    }
    for (const std::uint32_t jump : way.jumps) a_.land(jump);
    flags_ = way.before;
    flags_to_memory();
    const RowEffects& e = row_effects(block_.instructions[way.index].row);
    a_.mov(Reg32(kT0), site(way.index,
                            e.flags_read != 0 || e.flags_maybe != 0 ||
                                (e.flags_written != 0 && e.flags_written != kArithmeticFlags),
                            e.flags_written != 0 || e.flags_maybe != 0, way.last));
    if (way.last) {
      a_.jump_to(translator_.execute_last_);
      continue;
    }
    a_.call_to(translator_.execute_);
    if (way.after.host) load_flags();
    a_.jump_to(way.resume);
  }
  for (const std::uint32_t number : edges_) {
    Edge& edge = translator_.edges_[number];
    edge.stub = a_.here();
    a_.set_distance(edge.patch_at, edge.stub);
    a_.mov(a_.at(layout_.exit_value, 4), number);
    exit_with(Exit::edge);
  }
  a_.land(budget_jump_);
  a_.add(Reg64(Assembler::kBudget), translation_.steps);
  a_.mov(a_.at(layout_.exit_value, 4), translation_.number);
  exit_with(Exit::budget);
  if (translation_.tell_at != 0) {
    translation_.tell_stub = a_.here();
    a_.set_distance(translation_.tell_at + 1, translation_.tell_stub);
    a_.mov(Reg32(kT0), translation_.number);
    a_.call_to(translator_.tell_);
    a_.jump_to(tell_back_);
  }
}

// ---- flags ---------------------------------------------------------------------------

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

// ---- operands ------------------------------------------------------------------------

/// `guest` in some host register, to be read. Keeps the host's flags.
Xbyak::Reg BlockEmitter::value(unsigned guest, unsigned bytes, int temporary) {
  if ((guest & kHighByte) != 0) {
    const unsigned g = guest & 15;
    if (Assembler::pinned(g)) {
      a_.mov(a_.at(layout_.scratch, 8), Assembler::host(g, 8));
      a_.movzx(Reg32(temporary), a_.at(layout_.scratch + 1, 1));
    } else {
      a_.movzx(Reg32(temporary), a_.at(static_cast<std::int32_t>(g * 8 + 1), 1));
    }
    return Assembler::sized(temporary, 1);
  }
  if (Assembler::pinned(guest)) return Assembler::host(guest, bytes);
  if (bytes < 4) {
    a_.movzx(Reg32(temporary), a_.slot(guest, bytes));
  } else {
    a_.mov(Assembler::sized(temporary, bytes), a_.slot(guest, bytes));
  }
  return Assembler::sized(temporary, bytes);
}

/// A host register to compute `guest` in; finish_destination() puts it there.
Xbyak::Reg BlockEmitter::destination(unsigned guest, unsigned bytes, int temporary, bool load) {
  if ((guest & kHighByte) == 0 && Assembler::pinned(guest)) return Assembler::host(guest, bytes);
  if (load) {
    const Reg loaded = value(guest, bytes, temporary);
    (void)loaded;
  }
  return Assembler::sized(temporary, bytes);
}
void BlockEmitter::finish_destination(unsigned guest, unsigned bytes, int temporary) {
  if ((guest & kHighByte) == 0 && Assembler::pinned(guest)) return;
  write(guest, bytes, temporary);
}

/// Host register `from` to `guest`. Keeps the host's flags.
void BlockEmitter::write(unsigned guest, unsigned bytes, int from) {
  if ((guest & kHighByte) != 0) {
    const unsigned g = guest & 15;
    if (Assembler::pinned(g)) {
      a_.mov(a_.at(layout_.scratch, 8), Assembler::host(g, 8));
      a_.mov(a_.at(layout_.scratch + 1, 1), Assembler::sized(from, 1));
      a_.mov(Assembler::host(g, 8), a_.at(layout_.scratch, 8));
    } else {
      a_.mov(a_.at(static_cast<std::int32_t>(g * 8 + 1), 1), Assembler::sized(from, 1));
    }
    return;
  }
  if (Assembler::pinned(guest)) {
    if (kHostOf[guest] == from && bytes != 4) return;
    a_.mov(Assembler::host(guest, bytes), Assembler::sized(from, bytes));
    return;
  }
  if (bytes == 4) {
    // The upper half is cleared in a temporary.
    const bool temporary = from == kT0 || from == kT1 || from == kT2;
    const int wide = temporary ? from : kT1;
    a_.mov(Reg32(wide), Reg32(from));
    a_.mov(a_.slot(guest, 8), Reg64(wide));
  } else {
    a_.mov(a_.slot(guest, bytes), Assembler::sized(from, bytes));
  }
}

/// Effective address of the memory operand to T0; T1 is used. Keeps the host's flags.
void BlockEmitter::offset_of(const Instruction& i) {
  const auto in = [&](unsigned guest, int temporary) {
    if (Assembler::pinned(guest)) return Reg64(kHostOf[guest]);
    a_.mov(Reg64(temporary), a_.slot(guest, 8));
    return Reg64(temporary);
  };
  std::int64_t displacement = i.displacement;
  if (i.base == kGprRip) displacement += offset_behind(i);
  RegExp e;
  bool any = false;
  if (i.base == kGprRip) {
    a_.mov(Reg64(kT0), a_.at(layout_.rip_base, 8));
    e = RegExp(Reg64(kT0));
    any = true;
  } else if (i.base != kGprZero) {
    e = RegExp(in(i.base, kT0));
    any = true;
  }
  if (i.index != kGprZero) {
    const Reg64 index = in(i.index, kT1);
    const RegExp scaled = RegExp(index, 1 << i.scale);
    e = any ? e + scaled : scaled;
    any = true;
  }
  const bool wide = i.address_size == 8;
  if (!any) {
    a_.mov(Reg64(kT0), wide ? static_cast<std::uint64_t>(displacement)
                            : std::uint64_t{static_cast<std::uint32_t>(displacement)});
  } else if (displacement != static_cast<std::int32_t>(displacement)) {
    a_.mov(Reg64(kT2), static_cast<std::uint64_t>(displacement));
    a_.lea(Reg64(kT0), a_.ptr[e]);
    a_.lea(Reg64(kT0), a_.ptr[RegExp(Reg64(kT0)) + Reg64(kT2)]);
  } else {
    const Xbyak::Address address = a_.ptr[e + static_cast<std::int32_t>(displacement)];
    if (wide) {
      a_.lea(Reg64(kT0), address);
    } else {
      a_.lea(Reg32(kT0), address);
    }
  }
  if (i.address_size == 2) a_.movzx(Reg32(kT0), Xbyak::Reg16(kT0));
}

/// Makes T0 the host address of the operand, or goes the slow way. Uses all
/// temporaries; the host's flags are lost (settle() first).
void BlockEmitter::memory(const Instruction& i, unsigned bytes, Access access,
                          unsigned alignment_mask) {
  offset_of(i);
  check(i.segment, bytes, access, alignment_mask);
}

/// The same for the offset in T0. An address with any bit of `alignment_mask` goes
/// the slow way.
void BlockEmitter::check(unsigned segment, unsigned bytes, Access access, unsigned alignment_mask) {
  SlowWay& slow = slow_way();
  const Reg64 address(kT0);
  const Reg64 entry(kT1);
  const Reg64 page(kT2);
  if (long64_) {
    if (segment >= kFs) a_.add(address, a_.at(layout_.segment_base[segment], 8));
  } else if (!flat_ || segment >= kFs || (segment == kCs && access == Access::write)) {
    a_.mov(Reg32(kT1), a_.at(layout_.segment_limit[segment], 4));
    a_.lea(page, a_.ptr[address + static_cast<std::int32_t>(bytes - 1)]);
    a_.cmp(page, entry);
    slow.jumps.push_back(a_.jump_if(kIfAbove));
    a_.test(a_.at(layout_.segment_shortcut[segment], 1), access == Access::write ? 2 : 1);
    slow.jumps.push_back(a_.jump_if(kIfZero));
    a_.add(Reg32(kT0), a_.at(layout_.segment_base[segment], 4));
  }
  if (alignment_mask != 0) {
    a_.test(Reg8(kT0), alignment_mask);
    slow.jumps.push_back(a_.jump_if(kIfNotZero));
  }
  static_assert(sizeof(TlbEntry) == 32 && kTlbEntries == 1024);
  const std::uint32_t again = a_.here();
  a_.mov(Reg32(kT1), Reg32(kT0));
  a_.shr(Reg32(kT1), 7);
  a_.and_(Reg32(kT1), 1023U << 5);
  a_.add(entry, a_.at(layout_.tlb, 8));
  if (bytes == 1 || alignment_mask == bytes - 1) {
    a_.mov(page, address);
  } else {
    a_.lea(page, a_.ptr[address + static_cast<std::int32_t>(bytes - 1)]);
  }
  a_.and_(page, static_cast<std::uint32_t>(-4096));
  a_.cmp(page, Assembler::pointed(kT1, 8, access == Access::write ? 8 : 0));
  slow.refills.push_back({a_.jump_if(kIfNotZero), again, bytes, access});
  a_.add(address, Assembler::pointed(kT1, 8, 16));
}

// ---- control ---------------------------------------------------------------------------

/// RIP of a place in the present page to RAX. Keeps the host's flags.
void BlockEmitter::load_rip(std::int64_t page_offset) {
  a_.mov(Reg64(kT0), a_.at(layout_.rip_base, 8));
  const auto address = a_.ptr[Reg64(kT0) + static_cast<std::int32_t>(page_offset)];
  if (page_offset != static_cast<std::int32_t>(page_offset)) {
    a_.mov(Reg64(kT1), static_cast<std::uint64_t>(page_offset));
    a_.lea(Reg64(kT0), a_.ptr[Reg64(kT0) + Reg64(kT1)]);
    if (!long64_) a_.mov(Reg32(kT0), Reg32(kT0));
    return;
  }
  if (long64_) {
    a_.lea(Reg64(kT0), address);
  } else {
    a_.lea(Reg32(kT0), address);
  }
}

/// Finds the entry for the RIP in RAX: T1 points to it, or a jump misses.
void BlockEmitter::look_up(std::vector<std::uint32_t>& misses) {
  a_.mov(Reg64(kT1), Reg64(kT0));
  a_.shr(Reg64(kT1), kJumpHashShift);
  a_.xor_(Reg32(kT1), Reg32(kT0));
  a_.and_(Reg32(kT1), static_cast<std::uint32_t>(kJumpEntries - 1));
  a_.shl(Reg32(kT1), 5);
  a_.add(Reg64(kT1), a_.at(layout_.jumps, 8));
  a_.cmp(Reg64(kT0), Assembler::pointed(kT1, 8, 0));
  misses.push_back(a_.jump_if(kIfNotZero));
  a_.mov(Reg64(kT2), a_.at(layout_.tag, 8));
  a_.cmp(Reg64(kT2), Assembler::pointed(kT1, 8, 8));
  misses.push_back(a_.jump_if(kIfNotZero));
}
void BlockEmitter::enter_found() {
  a_.mov(Reg64(kT2), Assembler::pointed(kT1, 8, 16));
  a_.mov(a_.at(layout_.rip_base, 8), Reg64(kT2));
  a_.jmp(Assembler::pointed(kT1, 8, 24));
}

void BlockEmitter::add_edge(std::uint32_t patch_at, std::int64_t page_offset) {
  edges_.push_back(static_cast<std::uint32_t>(translator_.edges_.size()));
  Edge edge;
  edge.from = translation_.number;
  edge.page_offset = static_cast<std::uint32_t>(page_offset);
  edge.patch_at = patch_at;
  translator_.edges_.push_back(edge);
}

/// To the place behind the block's end, all of whose instructions have retired.
/// The flags are in memory.
void BlockEmitter::go(std::int64_t page_offset) {
  if (flat_ && in_page(page_offset)) {
    add_edge(a_.jump(), page_offset);
    return;
  }
  load_rip(page_offset);
  if (flat_) {
    std::vector<std::uint32_t> misses;
    look_up(misses);
    enter_found();
    for (const std::uint32_t miss : misses) a_.land(miss);
  }
  a_.mov(a_.slot(kGprRip, 8), Reg64(kT0));
  exit_with(Exit::miss);
}

/// The block ends without a jump: it was long enough, or its page ends.
void BlockEmitter::emit_end() {
  --index_;
  flags_to_memory();
  go(offset_behind(block_.instructions.back()));
  ended_ = true;
}

bool BlockEmitter::branch(const Instruction& i, const RowEffects& e) {
  if (!flat_ || i.operand_size < 4) return false;
  const std::int64_t behind = offset_behind(i);
  const std::int64_t target = behind + static_cast<std::int64_t>(i.immediate);
  if (e.operation == Operation::jcc) {
    if (!flags_.host && !flags_.memory) recompute();
    flags_to_memory();
    const unsigned code = condition(i.opcode & 15U, false);
    const std::uint32_t taken = a_.jump_if(code);
    if (in_page(target)) {
      add_edge(taken, target);
    } else {
      far_.push_back({taken, target, index_});
    }
    go(behind);
    ended_ = true;
    return true;
  }
  const auto to_slow = [&](const std::vector<std::uint32_t>& misses) {
    SlowWay& slow = slow_way();
    slow.last = true;
    slow.jumps.insert(slow.jumps.end(), misses.begin(), misses.end());
  };
  flags_to_memory();
  std::vector<std::uint32_t> misses;
  switch (e.operation) {
    case Operation::jmp:
      if (in_page(target)) {
        go(target);
      } else {
        load_rip(target);
        look_up(misses);
        to_slow(misses);
        enter_found();
      }
      break;
    case Operation::jmp_indirect:
      if (i.memory) {
        memory(i, i.operand_size, Access::read);
        a_.mov(Assembler::sized(kT0, i.operand_size), Assembler::pointed(kT0, i.operand_size));
      } else {
        a_.mov(Assembler::sized(kT0, i.operand_size), value(i.rm, i.operand_size, kT0));
      }
      look_up(misses);
      to_slow(misses);
      enter_found();
      break;
    case Operation::call:
    case Operation::call_indirect: {
      if (stack_width_ == 2 || i.operand_size != stack_width_) return false;
      const unsigned bytes = i.operand_size;
      const bool near = e.operation == Operation::call && in_page(target);
      if (!near) {
        if (e.operation == Operation::call) {
          load_rip(target);
        } else if (i.memory) {
          memory(i, bytes, Access::read);
          a_.mov(Assembler::sized(kT0, bytes), Assembler::pointed(kT0, bytes));
        } else {
          a_.mov(Assembler::sized(kT0, bytes), value(i.rm, bytes, kT0));
        }
        look_up(misses);
        to_slow(misses);
        a_.mov(a_.at(layout_.scratch + 8, 8), Reg64(kT1));
      }
      stack_address(-static_cast<std::int32_t>(bytes));
      check(kSs, bytes, Access::write);
      slow_.back().last = true;
      a_.mov(Reg64(kT1), a_.at(layout_.rip_base, 8));
      a_.lea(Reg64(kT1), a_.ptr[Reg64(kT1) + static_cast<std::int32_t>(behind)]);
      a_.mov(Assembler::pointed(kT0, bytes), Assembler::sized(kT1, bytes));
      move_stack(-static_cast<std::int32_t>(bytes));
      if (near) {
        go(target);
      } else {
        a_.mov(Reg64(kT1), a_.at(layout_.scratch + 8, 8));
        enter_found();
      }
      break;
    }
    case Operation::ret:
    case Operation::ret_immediate: {
      if (stack_width_ == 2 || i.operand_size != stack_width_) return false;
      const unsigned bytes = i.operand_size;
      stack_address(0);
      check(kSs, bytes, Access::read);
      a_.mov(Assembler::sized(kT0, bytes), Assembler::pointed(kT0, bytes));
      look_up(misses);
      to_slow(misses);
      const std::uint32_t extra =
          e.operation == Operation::ret_immediate ? static_cast<std::uint32_t>(i.immediate) : 0;
      move_stack(static_cast<std::int32_t>(bytes + extra));
      enter_found();
      break;
    }
    default:
      return false;
  }
  if (slow_open_) slow_.back().last = true;
  ended_ = true;
  return true;
}

/// The stack pointer and a displacement, cut to its width, to T0. Keeps the host's flags.
void BlockEmitter::stack_address(std::int32_t displacement) {
  const auto address = a_.ptr[Reg64(kHostOf[kRsp]) + displacement];
  if (stack_width_ == 8) {
    if (displacement == 0) {
      a_.mov(Reg64(kT0), Reg64(kHostOf[kRsp]));
    } else {
      a_.lea(Reg64(kT0), address);
    }
  } else {
    a_.lea(Reg32(kT0), address);
  }
}
void BlockEmitter::move_stack(std::int32_t displacement) {
  const auto address = a_.ptr[Reg64(kHostOf[kRsp]) + displacement];
  if (stack_width_ == 8) {
    a_.lea(Reg64(kHostOf[kRsp]), address);
  } else {
    a_.lea(Reg32(kHostOf[kRsp]), address);
  }
}

}  // namespace chronovisor::translate
