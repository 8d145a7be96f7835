#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1;
using Xbyak::Reg32;
using Xbyak::Reg64;

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

// ---- leaving to handlers ----------------------------------------------------------

std::uint32_t BlockEmitter::site(unsigned index, bool flags_in, bool flags_out, bool last) {
  Site added;
  added.instruction = &block_.instructions[index];
  added.page_offset = translation_.page_offset;
  added.index = static_cast<std::uint16_t>(index);
  added.steps = static_cast<std::uint16_t>(translation_.steps);
  added.key = translation_.key;
  added.flags_in = flags_in;
  added.flags_out = flags_out;
  added.last = last;
  translator_.sites_.push_back(added);
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

}  // namespace chronovisor::translate
