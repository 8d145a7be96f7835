// The run loop: finds the block at RIP, executes it to an exact position, and
// delivers what is due at the boundaries between steps.
//
// Nothing is polled per instruction. Whatever must be looked at soon (a device
// was touched, code or mappings changed, a watchpoint was hit) moves the end
// of the running block to right after the present instruction.
#include <algorithm>

#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/cpu/interpret/system/events.h"
#include "vmm/cpu/translate/translator.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostInstructionsInBlock = 48;
constexpr std::size_t kMostCachedInstructions = 2'000'000;  // about 100 MB
constexpr std::uint32_t kDeliveriesBetweenLooks = 4096;
static_assert(Cpu::kMostDeliveries % kDeliveriesBetweenLooks == 0);
constexpr std::uint64_t kDebugStatusSingleStep = 1ULL << 14;

}  // namespace

const Block& Cpu::find_block() {
  if (!long64()) rip() = static_cast<std::uint32_t>(rip());
  const std::uint64_t linear_rip = this->linear_rip();
  Jump& jump = jumps_[(linear_rip ^ (linear_rip >> 13)) & (kJumps - 1)];
  const std::uint64_t tag = (jump_generation_ << 4) | mode_key_;
  if (jump.linear_rip == linear_rip && jump.tag == tag) [[likely]] {
    if (long64() || rip() + jump.block->length_bytes - 1 <= state.segment[kCs].limit) [[likely]] {
      return *jump.block;
    }
  }
  const Block& block =
      observer_ == nullptr ? find_block_slow(linear_rip) : find_block_observed(linear_rip);
  if (block.mode_key == (mode_key_ & 7)) {
    jump.linear_rip = linear_rip;
    jump.tag = (jump_generation_ << 4) | mode_key_;
    jump.block = &block;
  }
  return block;
}

/// As find_block_slow, and tells the observer what it has not been told in
/// this interval.
const Block& Cpu::find_block_observed(std::uint64_t linear_rip) {
  try {
    const Block& block = find_block_slow(linear_rip);
    if (&block == once_.get() || block.told_interval != observer_interval_ ||
        block.told_linear_rip != linear_rip) {
      block.told_interval = observer_interval_;
      block.told_linear_rip = linear_rip;
      observer_->executes(linear_rip, block.length_bytes);
    }
    return block;
  } catch (const GuestFault&) {
    // An instruction whose fetch faults was still arrived at.
    observer_->executes(linear_rip, 1);
    throw;
  }
}

/// RAM offset of the page that code at `linear` is fetched from; kNever when
/// it is not RAM. Raises what the fetch raises.
std::uint64_t Cpu::fetch_translate(std::uint64_t linear) {
  const TlbContext context = cpl_ == 3 ? TlbContext::user : TlbContext::supervisor;
  Tlb& tlb = (*tlbs_)[static_cast<std::size_t>(context)];
  ExecuteTag& entry = tlb.code[tlb_index(linear)];
  if (entry.tag == (linear & kPageMask)) return entry.ram_page_offset;
  const Translation translation = translate(linear, Access::execute, context, kCs);
  const auto offset = ram_.offset_of({translation.physical_page});
  if (!offset) return kNever;
  if (entry.tag != TlbEntry::kInvalid) forget_jumps();  // its jumps would outlive its invalidation
  tlb.used = true;
  entry.tag = linear & kPageMask;
  entry.ram_page_offset = *offset;
  return *offset;
}

const Block& Cpu::find_block_slow(std::uint64_t linear_rip) {
  std::uint64_t limit_bytes = kNever;
  if (long64()) {
    if (!canonical(linear_rip)) raise_gp0();
  } else {
    const std::uint64_t limit = state.segment[kCs].limit;
    if (rip() > limit) raise_gp0();
    limit_bytes = limit - rip() + 1;
  }
  const std::uint64_t page_offset = fetch_translate(linear_rip);
  if (page_offset == kNever) return decode_once(linear_rip, limit_bytes);
  const std::uint64_t ram_offset = page_offset + (linear_rip & ~kPageMask);
  if (const Block* block = blocks_->find(ram_offset, mode_key_ & 7); block != nullptr) {
    bool same = block->length_bytes <= limit_bytes;
    if (same && block->second_page != Block::kNoPage) {
      same =
          fetch_translate((linear_rip & kPageMask) + kPageSize) == block->second_page * kPageSize;
    }
    if (same) return *block;
    if (block->length_bytes > limit_bytes) return decode_once(linear_rip, limit_bytes);
  }
  return build_block(linear_rip, ram_offset, limit_bytes);
}

const Block& Cpu::build_block(std::uint64_t linear_rip, std::uint64_t ram_offset,
                              std::uint64_t limit_bytes) {
  if (blocks_->instruction_count() > kMostCachedInstructions) {
    blocks_->clear();
    forget_jumps();
  }
  const DecodeMode decode_mode{long64(), (mode_key_ & 2) != 0, code_width_};
  auto block = std::make_unique<Block>();
  block->ram_offset = ram_offset;
  block->mode_key = mode_key_ & 7;
  const std::uint64_t in_page = std::min(kPageSize - (ram_offset & ~kPageMask), limit_bytes);
  const ByteView bytes{ram_.host(ram_offset), in_page};
  while (block->instructions.size() < kMostInstructionsInBlock) {
    Instruction instruction;
    instruction.start_offset = static_cast<std::uint16_t>(block->length_bytes);
    if (decode(decode_mode, bytes.subspan(block->length_bytes), instruction) ==
        DecodeStatus::need_more) {
      break;
    }
    block->length_bytes = instruction.next_offset;
    block->instructions.push_back(instruction);
    const std::uint32_t attributes = row_attributes(instruction);
    if ((attributes & kEndsBlock) != 0) break;
    if ((attributes & kString) != 0 && instruction.repeat != 0) break;
    if (block->length_bytes == in_page) break;
  }
  if (block->instructions.empty()) {
    // The first instruction runs past the page, or past the segment limit.
    if (limit_bytes <= in_page) raise_gp0();
    const std::uint64_t next = (linear_rip & kPageMask) + kPageSize;
    const std::uint64_t second =
        fetch_translate(long64() ? next : static_cast<std::uint32_t>(next));
    if (second == kNever) return decode_once(linear_rip, limit_bytes);
    std::array<std::uint8_t, kLongestInstruction> joined{};
    std::copy(bytes.begin(), bytes.end(), joined.begin());
    const std::size_t tail = std::min<std::uint64_t>(joined.size(), limit_bytes) - bytes.size();
    std::copy_n(ram_.host(second), tail,
                joined.begin() + static_cast<std::ptrdiff_t>(bytes.size()));
    Instruction instruction;
    if (decode(decode_mode, ByteView(joined).first(bytes.size() + tail), instruction) ==
        DecodeStatus::need_more) {
      raise_gp0();
    }
    block->length_bytes = instruction.next_offset;
    block->instructions.push_back(instruction);
    block->second_page = second / kPageSize;
    ram_.add_use(block->second_page, kPageHasCode);
    if (page_marks_[block->second_page].write_tagged == tlb_epoch_)
      drop_write_tags_of(block->second_page);
  }
  const std::uint64_t page = ram_offset / kPageSize;
  if ((ram_.use(page) & kPageHasCode) == 0) {
    ram_.add_use(page, kPageHasCode);
    if (page_marks_[page].write_tagged == tlb_epoch_) drop_write_tags_of(page);
  }
  counters_.blocks_decoded += 1;
  return blocks_->insert(std::move(block));
}

/// Decodes one instruction that cannot be cached: outside RAM, or cut by the
/// segment limit.
const Block& Cpu::decode_once(std::uint64_t linear_rip, std::uint64_t limit_bytes) {
  std::array<std::uint8_t, kLongestInstruction> bytes{};
  const std::size_t wanted = std::min<std::uint64_t>(bytes.size(), limit_bytes);
  const TlbContext context = cpl_ == 3 ? TlbContext::user : TlbContext::supervisor;
  const DecodeMode decode_mode{long64(), (mode_key_ & 2) != 0, code_width_};
  once_->instructions.clear();
  once_->mode_key = ~std::uint64_t{0};
  Instruction instruction;
  for (std::size_t have = 0; have < wanted; ++have) {
    const std::uint64_t at =
        long64() ? linear_rip + have : static_cast<std::uint32_t>(linear_rip + have);
    const Translation translation = translate(at, Access::execute, context, kCs);
    read_physical(translation.physical_page | (at & ~kPageMask), &bytes[have], 1);
    if (decode(decode_mode, ByteView(bytes).first(have + 1), instruction) == DecodeStatus::ok) {
      once_->length_bytes = instruction.next_offset;
      once_->instructions.push_back(instruction);
      return *once_;
    }
  }
  raise_gp0();
}

template <bool Counted>
void Cpu::execute_block(const Block& block, std::uint64_t budget) {
  const std::uint64_t count = std::min<std::uint64_t>(budget, block.instructions.size());
  const Instruction* i = block.instructions.data();
  const std::uint64_t rip_base = rip();
  block_rip_ = rip_base;
  block_begin_ = i;
  current_ = i;
  block_end_ = i + count;
  pause_ = false;
  repeat_budget_ = budget - (count - 1);
  do {
    state.gpr[kGprRip] = rip_base + i->next_offset;
    current_ = i;
    i->handler(*this, *i);
    ++i;
  } while (i != block_end_);
  // A finished REP instruction counts its iterations, any other counts one.
  steps_ += static_cast<std::uint64_t>(i - block_begin_) + (iterations_ != 0 ? iterations_ - 1 : 0);
  inside_repeat_ = iterations_ != 0 && state.gpr[kGprRip] == rip_base + current_->start_offset;
  if constexpr (Counted) {
    // Only the last instruction of a block can be a branch.
    retired_->instructions +=
        static_cast<std::uint64_t>(i - block_begin_) - static_cast<std::uint64_t>(inside_repeat_);
    if ((row_attributes(*current_) & kConditional) != 0) ++retired_->branches;
  }
  iterations_ = 0;
  current_ = block_begin_ = idle_instruction();
  block_end_ = current_ + 1;
}

/// Delivers at most one trap or interrupt that is due at this boundary.
/// @return whether something was delivered
bool Cpu::deliver_at_boundary() {
  if (state.shadow == kMovSsShadow) return false;
  const bool debug = state.pending_debug != 0;
  const bool nmi = state.nmi_pending && !state.nmi_blocked;
  const bool interrupt = state.shadow == kNoShadow && flags.test(kIf) && interrupt_request_;
  if (!debug && !nmi && !interrupt) return false;
  // Between two iterations of a REP instruction the frame has RF, whatever comes:
  // the instruction goes on without another instruction breakpoint.
  // Source: SDM vol. 3B, "Instruction-Breakpoint Exception Condition".
  if (inside_repeat_) flags.assign(kRf, true);
  if (debug) {
    deliver_exception(*this, GuestFault{kDebug, false, 0, 0});
  } else if (nmi) {
    state.nmi_pending = false;
    deliver_external(*this, kNmi);
  } else {
    deliver_external(*this, environment_.acknowledge_interrupt());
    recheck_ = true;
  }
  return true;
}

/// Host breakpoints and the guest's instruction breakpoints at `linear_rip`.
/// @return whether run() must stop (`stop` says why) or a #DB was delivered
bool Cpu::instruction_breakpoint(std::uint64_t linear_rip, CpuStop& stop) {
  const auto resumed_here = [&] {
    return hooks_->resumed_at_position == steps_ && hooks_->resumed_at_deliveries == deliveries_ &&
           hooks_->resumed_at_address == linear_rip;
  };
  // A REP instruction that goes on with its next iteration is not arrived at again.
  if (hooks_ != nullptr && !inside_repeat_ && hooks_->breakpoints.contains(linear_rip) &&
      !resumed_here()) {
    stop = CpuStop::breakpoint;
    return true;
  }
  if (inside_repeat_ || (state.dr7 & 0xff) == 0 || flags.test(kRf)) return false;
  std::uint64_t hit = 0;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_enabled(state.dr7, n) && breakpoint_kind(state.dr7, n) == kBreakExecute &&
        state.dr[n] == linear_rip) {
      hit |= 1ULL << n;
    }
  }
  if (hit == 0) return false;
  state.dr6 |= hit;
  deliver_exception(*this, GuestFault{kDebug, false, 0, 0});
  return true;
}

CpuStop Cpu::run(Position until, std::uint32_t deliveries) {
  recheck_ = false;
  watchpoint_hit_ = false;
  return retired_ == nullptr ? run_loop<false>(until, deliveries)
                             : run_loop<true>(until, deliveries);
}

template <bool Counted>
CpuStop Cpu::run_loop(Position until, std::uint32_t deliveries) {
  [[maybe_unused]] bool moved = false;  // a step retired or something was delivered
  while (true) {
    if (state.shutdown) return CpuStop::shutdown;
    if (watchpoint_hit_) return CpuStop::watchpoint;
    if (steps_ >= until.steps && (steps_ > until.steps || deliveries_ >= deliveries)) {
      return CpuStop::budget;
    }
    if (recheck_) return CpuStop::recheck;
    if constexpr (Counted) {
      if (moved && retired_->careful()) return CpuStop::recheck;
      moved = true;
    }
    if (blocks_->has_removed()) blocks_->collect();
    if ((state.pending_debug != 0 || state.nmi_pending || interrupt_request_) &&
        deliver_at_boundary()) {
      count_delivery();
      continue;
    }
    if (state.halted) return CpuStop::halted;

    std::uint64_t budget = std::max<std::uint64_t>(until.steps - steps_, 1);
    const bool single_step = flags.test(kTf);
    const std::uint64_t linear_rip = this->linear_rip();
    const bool careful = (state.dr7 & 0xff) != 0 ||
                         (hooks_ != nullptr && hooks_->breakpoint_on_page(linear_rip & kPageMask));
    if (careful) {
      CpuStop stop = CpuStop::budget;
      if (instruction_breakpoint(linear_rip, stop)) {
        if (stop == CpuStop::breakpoint) return stop;
        count_delivery();
        continue;
      }
    }
    if (careful || single_step || state.shadow != kNoShadow || flags.test(kRf)) budget = 1;
    if constexpr (Counted) {
      if (retired_->careful()) budget = 1;
    }
    step_block<Counted>(budget, single_step, careful);
  }
}

/// Executes at most `budget` steps of the block at RIP, or delivers the fault
/// that keeps it from going on.
template <bool Counted>
void Cpu::step_block(std::uint64_t budget, bool single_step, bool careful) {
  const std::uint64_t before = steps_;
  try {
    const Block& block = find_block();
    state.shadow = kNoShadow;
    flags.assign(kRf, false);
    single_step_suppressed_ = false;
    bool executed = false;
    if constexpr (!Counted) {
      if (translator_ != nullptr && !careful) {
        std::optional<GuestFault> fault;
        executed = translator_->run(block, budget, fault);
        if (fault) {
          deliver_fault(*fault, before);
          return;
        }
      }
    }
    if (!executed) execute_block<Counted>(block, budget);
    moment_before_ = {{steps_ - 1}, steps_ - before == 1 ? deliveries_ : 0};
    deliveries_ = 0;
    if (single_step && !single_step_suppressed_) state.pending_debug |= kDebugStatusSingleStep;
  } catch (const GuestFault& fault) {
    if constexpr (Counted) {
      if (current_ != idle_instruction()) {
        retired_->instructions += static_cast<std::uint64_t>(current_ - block_begin_);
      }
    }
    deliver_fault(fault, before);
  } catch (const Error&) {
    // The host failed in the middle of an instruction (output that could not be
    // recorded, say). The machine can be looked at and restored, but not run on.
    if (current_ != idle_instruction()) {
      rip() = instruction_rip();
      settle_steps();
    }
    throw;
  }
}

/// `fault` ended the instruction at current_, or the fetch of the next one.
/// `steps_before`: the steps retired when the run loop last looked.
void Cpu::deliver_fault(const GuestFault& fault, std::uint64_t steps_before) {
  if (current_ != idle_instruction()) {
    rip() = instruction_rip();
    settle_steps();
    if (steps_ != steps_before) deliveries_ = 0;
  }
  state.shadow = kNoShadow;
  if (fault.vector == kInvalidOpcode) count_undefined();
  deliver_exception(*this, fault);
  count_delivery();
}

void Cpu::count_delivery() {
  moment_before_ = {{steps_}, deliveries_};
  ++deliveries_;
  inside_repeat_ = false;
  // Steps are what budgets count, and here there are none.
  if (deliveries_ % kDeliveriesBetweenLooks == 0) recheck_ = true;
}

void Cpu::count_undefined() {
  if (counters_.undefined_instructions != 0 && counters_.last_undefined_rip == rip()) {
    ++counters_.undefined_instructions;  // most likely the same one again
    return;
  }
  std::array<std::uint8_t, kLongestInstruction> bytes{};
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto physical = translate_for_debugger(linear_rip() + n);
    if (physical) ram_.read(*physical, std::span(&bytes[n], 1));
  }
  // UD0, UD1 and UD2 are there to raise it.
  if (bytes[0] == 0x0f && (bytes[1] == 0xff || bytes[1] == 0xb9 || bytes[1] == 0x0b)) return;
  ++counters_.undefined_instructions;
  counters_.last_undefined_rip = rip();
  counters_.last_undefined = bytes;
}

}  // namespace chronovisor
