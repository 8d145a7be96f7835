// Ways out of a block: jumps, calls and returns, links and the table of targets.
#include <cstddef>

#include "vmm/cpu/translate/block_emitter.h"

namespace chronovisor::translate {
namespace {

constexpr int kT0 = Assembler::kT0, kT1 = Assembler::kT1, kT2 = Assembler::kT2;
using Xbyak::Reg32;
using Xbyak::Reg64;

}  // namespace

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
  static_assert(sizeof(JumpEntry) == 1U << 4);
  a_.shl(Reg32(kT1), 4);
  a_.add(Reg64(kT1), a_.at(layout_.jumps, 8));
  a_.cmp(Reg64(kT0), Assembler::pointed(kT1, 8, offsetof(JumpEntry, rip)));
  misses.push_back(a_.jump_if(kIfNotZero));
  a_.mov(Reg32(kT2), a_.at(layout_.tag, 4));
  a_.cmp(Reg32(kT2), Assembler::pointed(kT1, 4, offsetof(JumpEntry, tag)));
  misses.push_back(a_.jump_if(kIfNotZero));
}
/// To the target of the entry in T1. Code that is looked up is flat: pages of RIP are pages.
void BlockEmitter::enter_found() {
  a_.mov(Reg64(kT2), Assembler::pointed(kT1, 8, offsetof(JumpEntry, rip)));
  a_.and_(Reg64(kT2), static_cast<std::uint32_t>(kPageMask));
  a_.mov(a_.at(layout_.rip_base, 8), Reg64(kT2));
  a_.mov(Reg32(kT1), Assembler::pointed(kT1, 4, offsetof(JumpEntry, code)));
  a_.address_of_code(Reg64(kT2));
  a_.add(Reg64(kT1), Reg64(kT2));
  a_.jmp(Reg64(kT1));
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
