// What is due between two steps: traps, NMI and interrupts, instruction
// breakpoints, and the fault that kept a step from retiring.
#include <algorithm>
#include <array>

#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/system/events.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kDeliveriesBetweenLooks = 4096;
constexpr std::uint64_t kDebugStatusSingleStep = 1ULL << 14;
constexpr std::uint64_t kDebugControlBtf = 1ULL << 1;
static_assert(Cpu::kMostDeliveries % kDeliveriesBetweenLooks == 0);

/// UD0, UD1 and UD2 are there to raise #UD.
bool meant_to_be_undefined(const std::array<std::uint8_t, kLongestInstruction>& bytes) {
  return bytes[0] == 0x0f && (bytes[1] == 0xff || bytes[1] == 0xb9 || bytes[1] == 0x0b);
}

/// Branches that are always taken, so that BTF counts them even where they lead to
/// the next instruction. INT n and its kin suppress the trap in any case.
bool always_branches(const Instruction& i) {
  if (i.row == kNoRow) return false;
  switch (instruction_table()[i.row].map) {
    case OpcodeMap::primary: {
      constexpr std::array<std::uint8_t, 10> kBranches{0xc2, 0xc3, 0xca, 0xcb, 0xcf,
                                                       0xe8, 0xe9, 0xea, 0xeb, 0x9a};
      const unsigned reg = (i.modrm >> 3) & 7U;
      if (i.opcode == 0xff) return reg >= 2 && reg <= 5;
      return std::find(kBranches.begin(), kBranches.end(), i.opcode) != kBranches.end();
    }
    case OpcodeMap::map_0f:
      return i.opcode == 0x05 || i.opcode == 0x07 || i.opcode == 0x34 || i.opcode == 0x35;
    default:
      return false;
  }
}

}  // namespace

/// An instruction retired that had found TF set: the trap, unless it is a load of SS,
/// after which there is none, or DEBUGCTL.BTF asks for branches only.
/// Source: SDM vol. 3B, "Single-Step Exception Condition", "Single-Stepping on
/// Branches"; vol. 2, "MOV". That the trap of a load of SS is lost, and does not wait
/// for the next boundary, was measured.
void Cpu::note_single_step(const Instruction& instruction, std::uint64_t rip_behind) {
  if (state.shadow == kMovSsShadow) return;
  if ((state.msr.debug_control & kDebugControlBtf) != 0) {
    const bool taken = (rip() != rip_behind && !inside_repeat_) || always_branches(instruction);
    if (!taken) return;
  }
  state.pending_debug |= kDebugStatusSingleStep;
}

void Cpu::single_step_by_new_flags() {
  single_step_suppressed_ = true;
  if (flags.test(kTf)) state.pending_debug |= kDebugStatusSingleStep;
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
  if (inside_repeat_) flags.assign<kRf>(true);
  if (debug) {
    // A step onto an instruction breakpoint is one exception that reports both.
    if (!flags.test(kRf)) state.pending_debug |= watch_.guest_breakpoints_at(linear_rip());
    deliver_exception(*this, GuestFault::plain(kDebug));
  } else if (nmi) {
    state.nmi_pending = false;
    deliver_external(*this, kNmi);
  } else {
    deliver_external(*this, environment_.acknowledge_interrupt());
    recheck_ = true;
  }
  count_delivery();
  return true;
}

/// Host breakpoints and the guest's instruction breakpoints at `linear_rip`.
/// @return whether run() must stop (`stop` says why) or a #DB was delivered
bool Cpu::instruction_breakpoint(std::uint64_t linear_rip, CpuStop& stop) {
  // A REP instruction that goes on with its next iteration is not arrived at again.
  if (inside_repeat_) return false;
  const DebugHooks* const hooks = watch_.hooks();
  const auto resumed_here = [&] {
    return hooks->resumed_at_position == run_.steps &&
           hooks->resumed_at_deliveries == deliveries_ && hooks->resumed_at_address == linear_rip;
  };
  if (hooks != nullptr && hooks->breakpoints.contains(linear_rip) && !resumed_here()) {
    stop = CpuStop::breakpoint;
    return true;
  }
  // Source: SDM vol. 3B, "Instruction-Breakpoint Exception Condition": none behind a
  // load of SS.
  if (flags.test(kRf) || state.shadow == kMovSsShadow) return false;
  const std::uint64_t hit = watch_.guest_breakpoints_at(linear_rip);
  if (hit == 0) return false;
  state.pending_debug |= hit;
  deliver_exception(*this, GuestFault::plain(kDebug));
  count_delivery();
  return true;
}

/// Delivers the exception that the instruction at RIP ended in.
void Cpu::deliver_fault(const GuestFault& fault) {
  state.shadow = kNoShadow;
  if (fault.vector == kInvalidOpcode) count_undefined();
  deliver_exception(*this, fault);
  count_delivery();
}

void Cpu::count_delivery() {
  moment_before_ = {{run_.steps}, deliveries_};
  watched_by_ = {};  // the instruction there, if one began, has not retired
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
    const auto physical = translate_for_debugger({linear_rip() + n});
    if (physical) ram_.read(*physical, std::span(&bytes[n], 1));
  }
  if (meant_to_be_undefined(bytes)) return;
  ++counters_.undefined_instructions;
  counters_.last_undefined_rip = rip();
  counters_.last_undefined = bytes;
}

}  // namespace chronovisor
