#include "vmm/engine/kvm/kvm_engine.h"

#include <array>

#include "base/error.h"
#include "base/text.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/engine/soft/soft_engine.h"

namespace chronovisor::kvm {
namespace {

const Capabilities& require_engine(const Capabilities& capabilities) {
  if (!capabilities.engine_possible()) {
    const Availability state = availability(capabilities.device);
    std::string message =
        "--engine kvm: " + (state.usable ? capabilities.why_not() : state.problem);
    if (!state.remedy.empty()) message += "; " + state.remedy;
    throw Error(ErrorCode::host,
                message + "; chronovisor doctor says more; --engine soft works everywhere");
  }
  return capabilities;
}

}  // namespace

KvmEngine::KvmEngine(Cpu& cpu, Ram& ram, const Capabilities& capabilities)
    : cpu_(cpu),
      ram_(ram),
      capabilities_(require_engine(capabilities)),
      policy_(capabilities),
      stepper_(cpu, ram, capabilities),
      undo_(cpu, ram) {}

/// Nothing is due here that only the soft processor knows how to do.
bool KvmEngine::host_may_step() {
  const CpuState& state = cpu_.state;
  if (state.shutdown || state.halted || state.pending_debug != 0 || state.nmi_pending ||
      state.shadow != kNoShadow || cpu_.interrupt_requested() || cpu_.observed()) {
    return false;
  }
  if ((state.dr7 & 0xff) != 0 || cpu_.flags.test(kTf | kRf)) return false;
  if (cpu_.cpl() == 3 && !capabilities_.step_ring3) return false;
  // QEMU 7.2 hangs, host and all, at a fault in real mode without a vector table.
  if ((state.cr0 & kCr0Pe) == 0 && !capabilities_.checks_segments) return false;
  const bool pae32 =
      (state.cr0 & kCr0Pg) != 0 && (state.cr4 & kCr4Pae) != 0 && !cpu_.long_mode_active();
  if (pae32 && !capabilities_.keeps_pdptes) return false;
  // Emulated processors leave out alignment checks.
  if (cpu_.cpl() == 3 && (state.cr0 & kCr0Am) != 0 && cpu_.flags.test(kAc)) return false;
  if ((state.cr0 & kCr0Pg) != 0 && !cpu_.long_mode_active() && !capabilities_.paged32) return false;
  return true;
}

bool KvmEngine::fetch(Instruction& instruction) { return fetch_at(cpu_.rip(), instruction); }

/// Decodes the instruction at `rip`, without a trace in the guest.
bool KvmEngine::fetch_at(std::uint64_t rip, Instruction& instruction) {
  const bool wide = cpu_.long64();
  if (!wide && rip > cpu_.state.segment[kCs].limit) return false;
  const std::uint64_t linear =
      wide ? rip : static_cast<std::uint32_t>(rip + cpu_.state.segment[kCs].base);
  const DecodeMode mode = cpu_.mode_key().decode_mode();
  std::size_t have = 0;
  while (have < kLongestInstruction) {
    const std::uint64_t at = linear + have;
    const auto physical = cpu_.translate_for_debugger({wide ? at : static_cast<std::uint32_t>(at)});
    if (!physical) return false;
    const std::size_t in_page = kPageSize - (at & ~kPageMask);
    const std::size_t wanted = std::min<std::size_t>(in_page, kLongestInstruction - have);
    if (ram_.read(*physical, std::span(bytes_).subspan(have, wanted)) != wanted) return false;
    have += wanted;
    bytes_fetched_ = have;
    instruction.start_offset = 0;
    if (decode(mode, ByteView(bytes_).first(have), instruction) == DecodeStatus::ok) return true;
  }
  return false;
}

/// The access needs no check of its segment, for a KVM that makes none.
bool KvmEngine::plainly_inside(unsigned segment, std::uint64_t offset, std::uint64_t size) const {
  if (cpu_.long64()) return true;
  constexpr unsigned kExpandDown = 4, kWritable = 2, kCodeType = 8;
  const SegmentRegister& s = cpu_.state.segment[segment];
  return s.present() && (s.type() & (kExpandDown | kWritable | kCodeType)) == kWritable &&
         offset <= s.limit && size - 1 <= s.limit - offset;
}

/// Calls `visit(linear, bytes)` for whatever memory the instruction may touch,
/// until it returns false.
template <class Visit>
bool KvmEngine::every_access(const Instruction& instruction, Visit&& visit) {
  constexpr std::uint64_t kWidest = 16, kDeepest = 64;
  const auto at = [&](unsigned segment, std::uint64_t offset, std::uint64_t size) {
    const bool flat = cpu_.long64() && segment < kFs;
    const std::uint64_t linear = offset + (flat ? 0 : cpu_.state.segment[segment].base);
    if (!capabilities_.checks_segments && !plainly_inside(segment, offset, size)) return false;
    return visit(cpu_.long64() ? linear : static_cast<std::uint32_t>(linear), size);
  };
  const std::uint64_t rsp = Cpu::cut(cpu_.state.gpr[kRsp], cpu_.stack_width());
  // Pops may cross a page: nothing is changed before all of it was read.
  if (!at(kSs, rsp - kDeepest, kDeepest) || !at(kSs, rsp, 1) || !at(kSs, rsp + kDeepest - 1, 1))
    return false;
  if (instruction.memory && !at(instruction.segment, cpu_.effective_address(instruction), kWidest))
    return false;
  const bool leave = instruction.opcode == 0xc9;
  if (leave && !at(kSs, Cpu::cut(cpu_.state.gpr[kRbp], cpu_.stack_width()), 8)) return false;
  if ((row_attributes(instruction) & kString) != 0) {
    return at(kEs, Cpu::cut(cpu_.state.gpr[kRdi], instruction.address_size), 8) &&
           at(instruction.segment, Cpu::cut(cpu_.state.gpr[kRsi], instruction.address_size), 8);
  }
  const bool absolute =
      instruction.opcode >= 0xa0 && instruction.opcode <= 0xa3 && !instruction.memory;
  return !absolute || at(instruction.segment, instruction.immediate, 8);
}

/// KVM may be given the instruction: it touches no two pages, since KVM's
/// emulator would change the first before it finds that the second faults; and
/// the processor's page walks, which set A bits also on the way to a fault, find
/// nothing to set.
bool KvmEngine::accesses_are_plain(const Instruction& instruction) {
  const std::uint64_t base = cpu_.long64() ? 0 : cpu_.state.segment[kCs].base;
  const bool branch = (row_attributes(instruction) & kEndsBlock) != 0;
  const bool small_code = !cpu_.long64() && cpu_.state.segment[kCs].limit != ~0U;
  if (!capabilities_.checks_segments && branch && small_code) return false;
  // Emulated processors raise no #XM.
  constexpr std::uint32_t kAllMasked = 0x1f80;
  const bool masked = (cpu_.state.mxcsr & kAllMasked) == kAllMasked;
  if (!masked && touches_vector_state(instruction)) return false;
  if (!cpu_.accessed_throughout({base + cpu_.rip()})) return false;
  return every_access(instruction, [&](std::uint64_t linear, std::uint64_t size) {
    return (linear & ~kPageMask) <= kPageSize - size && cpu_.accessed_throughout({linear});
  });
}

/// Keeps what the instruction, and the one behind it, may change in memory. What the
/// latter touches is worked out from the registers as they are now.
void KvmEngine::remember_memory(const Instruction& instruction) {
  undo_.clear();
  const auto keep = [&](std::uint64_t linear, std::uint64_t size) {
    undo_.remember(linear, size);
    return true;
  };
  static_cast<void>(every_access(instruction, keep));
  const auto bytes = bytes_;
  const std::size_t fetched = bytes_fetched_;
  Instruction behind;
  behind_.reset();
  if (fetch_at(cpu_.rip() + instruction.length(), behind) && behind.row != kNoRow) {
    behind_ = behind;
    static_cast<void>(every_access(behind, keep));
  }
  bytes_ = bytes;
  bytes_fetched_ = fetched;
}

/// KVM did not stop behind the instruction. Memory gets back what it held, if KVM
/// stopped behind the one after it, whose accesses are known; the registers were
/// never taken.
void KvmEngine::undo_step(const Instruction& instruction) {
  const std::uint64_t start = cpu_.rip();
  const std::uint64_t stopped = stepper_.exit_regs().rip;
  const auto ends_block = [](const Instruction& i) {
    return (row_attributes(i) & kEndsBlock) != 0;
  };
  const bool one_more = behind_ && !ends_block(instruction) && !ends_block(*behind_) &&
                        stopped == start + instruction.length() + behind_->length();
  const bool conditional =
      behind_ && !ends_block(instruction) && (row_attributes(*behind_) & kConditional) != 0 &&
      (stopped == start + instruction.length() + behind_->length() ||
       stopped == start + instruction.length() + behind_->length() + behind_->immediate);
  if (!one_more && !conditional) {
    throw Error(ErrorCode::host, "KVM was told to execute one instruction at rip " +
                                     hex_text(start) + " and stopped at " + hex_text(stopped) +
                                     ", so that what it changed is not known; use --engine soft");
  }
  stepper_.collect_dirty_pages();
  undo_.restore();
}

/// One delivery or one step by the soft processor.
CpuStop KvmEngine::soft_event() {
  stepper_.collect_dirty_pages();
  last_on_host_ = false;
  return cpu_.run(cpu_.position(), cpu_.deliveries() + 1);
}

CpuStop KvmEngine::run(Position until, std::uint32_t deliveries) {
  while (true) {
    if (cpu_.state.shutdown) return CpuStop::shutdown;
    const auto arrived = [&] {
      const Position here = cpu_.position();
      return here >= until && (here > until || cpu_.deliveries() >= deliveries);
    };
    if (arrived()) return CpuStop::budget;
    Instruction instruction;
    if (host_may_step() && fetch(instruction)) {
      const StepRule rule =
          policy_.rule(instruction, ByteView(bytes_).first(bytes_fetched_), step_world(cpu_));
      if (rule != StepRule::soft && accesses_are_plain(instruction)) {
        remember_memory(instruction);
        const StepOutcome outcome = stepper_.step(instruction);
        if (outcome == StepOutcome::retired || outcome == StepOutcome::unfinished) {
          if (rule == StepRule::host_clears_af) {
            cpu_.flags.set_arithmetic(cpu_.flags.arithmetic() & ~kAf);
          }
          cpu_.step_retired_elsewhere(outcome == StepOutcome::unfinished);
          last_on_host_ = true;
          ++counters_.host_steps;
          continue;
        }
        if (outcome == StepOutcome::unsupported) {
          policy_.learn_unsupported(instruction);
          ++counters_.unsupported;
        } else if (outcome == StepOutcome::too_far) {
          undo_step(instruction);
          policy_.learn_unsupported(instruction);
          ++counters_.undone;
        } else {
          ++counters_.given_back;
        }
      }
    }
    ++counters_.soft_steps;
    const CpuStop stop = soft_event();
    if (stop != CpuStop::budget) return stop;
    if (cpu_.recheck_requested() && !arrived()) return CpuStop::recheck;
  }
}

std::function<void(Machine&)> engine_selector(const std::string& name, const std::string& device) {
  if (name == "soft") {
    return [](Machine& machine) {
      machine.set_engine([](Cpu& cpu) { return std::make_unique<SoftEngine>(cpu); });
    };
  }
  if (name != "kvm") throw Error(ErrorCode::usage, "--engine " + name + ": soft or kvm");
  return [capabilities = require_engine(self_test(device))](Machine& machine) {
    if (machine.config().model != kFirstModel) {
      throw Error(ErrorCode::usage, "--engine kvm: a machine of the model " +
                                        machine.config().model + " runs by --engine soft alone");
    }
    machine.set_engine(
        [&](Cpu& cpu) { return std::make_unique<KvmEngine>(cpu, machine.ram(), capabilities); });
  };
}

void select_engine(Machine& machine, const std::string& name, const std::string& device) {
  engine_selector(name, device)(machine);
}

}  // namespace chronovisor::kvm
