// The run loop: executes blocks to an exact position, and delivers what is due at
// the boundaries between steps.
//
// Nothing is polled per instruction. Whatever must be looked at soon (a device
// was touched, code or mappings changed, a watchpoint was hit) moves the end
// of the running block to right after the present instruction.
#include <algorithm>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/translate/translator.h"

namespace chronovisor {

CpuStop Cpu::run(Position until, std::uint32_t deliveries) {
  recheck_ = false;
  watch_.clear_hit();
  bool moved = false;  // a step retired or something was delivered
  while (true) {
    if (state.shutdown) return CpuStop::shutdown;
    if (watch_.hit()) return CpuStop::watchpoint;
    if (run_.steps >= until.steps && (run_.steps > until.steps || deliveries_ >= deliveries)) {
      return CpuStop::budget;
    }
    if (recheck_) return CpuStop::recheck;
    const bool counted_place_near = retired_ != nullptr && retired_->careful();
    if (counted_place_near && moved) return CpuStop::recheck;
    moved = true;
    code_.collect();
    if ((state.pending_debug != 0 || state.nmi_pending || interrupt_request_) &&
        deliver_at_boundary()) {
      continue;
    }
    if (state.halted) return CpuStop::halted;

    const bool single_step = flags.test(kTf);
    const std::uint64_t linear_rip = this->linear_rip();
    const bool watched = watch_.code_page_watched(linear_rip);
    if (watched) {
      CpuStop stop = CpuStop::budget;
      if (instruction_breakpoint(linear_rip, stop)) {
        if (stop == CpuStop::breakpoint) return stop;
        continue;
      }
    }
    const bool one_step = watched || single_step || counted_place_near ||
                          state.shadow != kNoShadow || flags.test(kRf);
    const std::uint64_t to_go = std::max<std::uint64_t>(until.steps - run_.steps, 1);
    step_block({one_step ? 1 : to_go, single_step, !one_step});
  }
}

/// Executes steps of the block at RIP (translated code: and of those that follow),
/// or delivers the fault that keeps it from going on.
void Cpu::step_block(const StepLimits& limits) {
  entered_at_ = run_.steps;
  const Block* const block = find_block();
  if (block == nullptr) {
    take_pending();
    return;
  }
  behind_mov_ss_ = state.shadow == kMovSsShadow;
  state.shadow = kNoShadow;
  flags.assign<kRf>(false);
  single_step_suppressed_ = false;
  try {
    const std::uint64_t rip_base = rip();
    const Instruction* last = nullptr;
    if (!limits.may_be_translated || !execute_translated(*block, limits.budget)) {
      last = execute_block(*block, limits.budget);
      if (retired_ != nullptr) [[unlikely]]
        count_retired(*block, last);
    }
    if (!faulted_) [[likely]] {
      moment_before_ = {{run_.steps - 1}, run_.steps - entered_at_ == 1 ? deliveries_ : 0};
      deliveries_ = 0;
      if (limits.single_step && !single_step_suppressed_ && last != nullptr) {
        note_single_step(*last, rip_base + last->next_offset);
      }
      return;
    }
  } catch (const GuestFault& fault) {
    pending_ = fault;
  } catch (...) {
    // The host failed in the middle of an instruction (output that could not be
    // recorded, say). The machine can be looked at and restored, but not run on.
    abandon_block();
    throw;
  }
  take_pending();
}

/// @return whether anything was executed; a fault that ended it is pending
bool Cpu::execute_translated(const Block& block, std::uint64_t budget) {
  if (translator_ == nullptr || retired_ != nullptr) return false;
  std::optional<GuestFault> fault;
  const bool executed = translator_->run(block, budget, fault);
  if (fault) pending_ = *fault;
  faulted_ = fault.has_value();
  return executed;
}

void Cpu::enter_block(const Block& block, std::uint64_t budget) {
  const std::uint64_t count = std::min<std::uint64_t>(budget, block.instructions.size());
  entered_at_ = run_.steps;
  run_.rip = rip();
  run_.begin = run_.current = block.instructions.data();
  run_.end = run_.begin + count;
  run_.pause = false;
  run_.repeat_budget = budget - (count - 1);
}

void Cpu::finish_block(const Instruction* next) {
  // A finished REP instruction counts its iterations, any other counts one.
  run_.steps += static_cast<std::uint64_t>(next - run_.begin) +
                (run_.iterations != 0 ? run_.iterations - 1 : 0);
  inside_repeat_ = run_.iterations != 0 && state.gpr[kGprRip] == run_.instruction_rip();
  run_.become_idle();
}

/// @return the last instruction that was executed
const Instruction* Cpu::execute_block(const Block& block, std::uint64_t budget) {
  enter_block(block, budget);
  const Instruction* i = run_.begin;
  const std::uint64_t rip_base = run_.rip;
  do {
    state.gpr[kGprRip] = rip_base + i->next_offset;
    run_.current = i;
    i->handler(*this, *i);
    ++i;
  } while (i != run_.end);
  finish_block(i);
  return i - 1;
}

Completion Cpu::execute(const Instruction& instruction) noexcept {
  state.gpr[kGprRip] = run_.rip + instruction.next_offset;
  run_.current = &instruction;
  try {
    instruction.handler(*this, instruction);
    return run_.end == &instruction + 1 ? Completion::leave : Completion::next;
  } catch (const GuestFault& fault) {
    pending_ = fault;
  } catch (...) {
    pending_error_ = std::current_exception();
  }
  return Completion::deferred;
}

void Cpu::take_pending() {
  if (pending_error_ != nullptr) {
    abandon_block();
    std::rethrow_exception(std::exchange(pending_error_, nullptr));
  }
  const GuestFault fault = pending_;
  faulted_ = false;
  if (!run_.idle()) {
    if (retired_ != nullptr) {
      retired_->instructions += static_cast<std::uint64_t>(run_.current - run_.begin);
    }
    abandon_block();
    if (run_.steps != entered_at_) deliveries_ = 0;
  }
  deliver_fault(fault);
}

/// The instruction that executes does not retire: RIP goes back to it, and what
/// was done before it is counted.
void Cpu::abandon_block() {
  if (run_.idle()) return;
  rip() = run_.instruction_rip();
  run_.steps = run_.position().steps;
  run_.become_idle();
}

void Cpu::count_retired(const Block& block, const Instruction* last) {
  const auto executed = static_cast<std::uint64_t>(last - block.instructions.data()) + 1;
  retired_->instructions += executed - static_cast<std::uint64_t>(inside_repeat_);
  // Only the last instruction of a block can be a branch.
  if ((row_attributes(*last) & kConditional) != 0) ++retired_->branches;
}

}  // namespace chronovisor
