#include "vmm/engine/kvm/stepper.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/engine/kvm/step_policy.h"

namespace chronovisor::kvm {
namespace {

/// Emulated accesses complete in pieces of at most 8 bytes; no instruction that
/// is stepped makes more.
constexpr int kMostDevicePieces = 64;

std::uint64_t counter_of(std::uint64_t rcx, unsigned address_size) {
  return Cpu::cut(rcx, address_size);
}

std::uint64_t with_counter(std::uint64_t rcx, unsigned address_size, std::uint64_t value) {
  if (address_size == 2) return (rcx & ~0xffffULL) | (value & 0xffff);
  return address_size == 4 ? static_cast<std::uint32_t>(value) : value;
}

bool repeated(const Instruction& i) { return i.repeat != 0 && (row_attributes(i) & kString) != 0; }

/// SCAS and CMPS stop by ZF; the other string instructions do not look.
bool compares(const Instruction& i) {
  return i.opcode == 0xa6 || i.opcode == 0xa7 || i.opcode == 0xae || i.opcode == 0xaf;
}

template <class T>
bool same(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

}  // namespace

Stepper::Stepper(Cpu& cpu, Ram& ram, const Capabilities& capabilities,
                 InterruptTable interrupt_table)
    : cpu_(cpu),
      ram_(ram),
      capabilities_(capabilities),
      interrupt_table_(interrupt_table),
      device_(capabilities.device) {
  const auto add = [&](std::uint64_t physical, std::uint64_t offset, std::uint64_t bytes) {
    if (bytes == 0) return;
    slots_.push_back({static_cast<std::uint32_t>(slots_.size()), physical, offset / kPageSize,
                      bytes / kPageSize,
                      std::vector<std::uint64_t>((bytes / kPageSize + 63) / 64)});
  };
  add(0, 0, Ram::kHoleBegin);
  add(Ram::kHoleEnd, Ram::kHoleEnd, ram.low_end() - Ram::kHoleEnd);
  add(Ram::kHighBase, ram.low_end(), ram.size() - ram.low_end());
  create_vm();
}

void Stepper::create_vm() {
  vm_ = nullptr;
  vm_ = std::make_unique<Vm>(device_);
  for (const Slot& slot : slots_) {
    vm_->set_memory({slot.number, slot.physical, slot.pages * kPageSize,
                     ram_.view(slot.first_page * kPageSize, slot.pages * kPageSize).data()});
  }
  vm_->set_cpuid(guest_cpuid(device_.supported_cpuid()));
  // RDMSR and WRMSR are never stepped (StepPolicy): should one be, or should what
  // is stepped turn out to be one, no MSR of the host's KVM answers it.
  msrs_filtered_ = capabilities_.msr_filter && vm_->filter_all_msrs();
  template_sregs_ = vm_->sregs();
  everything_stale_ = true;
  vm_spent_ = false;
}

bool Stepper::load_everything(const kvm_regs& regs, const kvm_sregs& sregs) {
  kvm_vcpu_events none{};
  none.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  vm_->set_events(none);
  if (!vm_->set_sregs(sregs)) return false;
  vm_->set_regs(regs);
  loaded_floating_point_ = to_kvm_floating_point(cpu_.state);
  if (interrupt_table_ == InterruptTable::guest) {
    put_x87(loaded_floating_point_, cpu_.state.x87);
    load_debug_registers();
  }
  vm_->set_floating_point(loaded_floating_point_);
  loaded_msrs_ = to_kvm_msrs(cpu_.state);
  if (vm_->set_msrs(loaded_msrs_) != loaded_msrs_.size()) return false;
  everything_stale_ = false;
  arm_step();
  return true;
}

/// The engine leaves breakpoints to the soft processor.
void Stepper::load_debug_registers() {
  kvm_debugregs registers{};
  for (std::size_t n = 0; n < cpu_.state.dr.size(); ++n) registers.db[n] = cpu_.state.dr[n];
  registers.dr6 = cpu_.state.dr6;
  registers.dr7 = cpu_.state.dr7;
  vm_->set_debug_registers(registers);
}

/// KVM remembers at which RIP stepping was asked for, and steps from there
/// only: this follows every change of the registers.
void Stepper::arm_step() { vm_->set_guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP); }

/// Brings the vCPU to the Cpu's state, with `count` in the counter of a REP.
/// @return false when KVM refuses the state
bool Stepper::load(const Instruction& instruction, std::uint64_t count) {
  kvm_regs regs = to_kvm_regs(cpu_);
  if (count != 0) regs.rcx = with_counter(regs.rcx, instruction.address_size, 1);
  kvm_sregs sregs = to_kvm_sregs(cpu_, template_sregs_);
  if (interrupt_table_ == InterruptTable::empty) sregs.idt.limit = 0;
  vm_->shared().kvm_dirty_regs = 0;
  if (everything_stale_) {
    if (!load_everything(regs, sregs)) return false;
  } else {
    const bool new_sregs = !same(sregs, loaded_sregs_);
    if (new_sregs && !vm_->set_sregs(sregs)) return false;
    if (new_sregs || !same(regs, loaded_regs_)) {
      vm_->set_regs(regs);
      arm_step();
    }
    if (touches_vector_state(instruction)) {
      const Vm::FloatingPointImage image = to_kvm_floating_point(cpu_.state);
      if (image != loaded_floating_point_) vm_->set_floating_point(image);
      loaded_floating_point_ = image;
    }
    std::vector<kvm_msr_entry> msrs = to_kvm_msrs(cpu_.state);
    if (std::memcmp(msrs.data(), loaded_msrs_.data(), msrs.size() * sizeof(kvm_msr_entry)) != 0) {
      if (vm_->set_msrs(msrs) != msrs.size()) return false;
      loaded_msrs_ = std::move(msrs);
    }
  }
  loaded_sregs_ = sregs;
  loaded_regs_ = regs;
  return true;
}

void Stepper::read_exit() {
  if (vm_->synchronises_registers()) {
    exit_regs_ = vm_->shared().s.regs.regs;
    exit_sregs_ = vm_->shared().s.regs.sregs;
  } else {
    exit_regs_ = vm_->regs();
    exit_sregs_ = vm_->sregs();
  }
}

/// KVM holds an access that it wants answered. It is answered with zeros and
/// its instruction is run to its end, since nothing else lets go of it; the
/// caller executes the instruction again, which overwrites whatever it stored.
void Stepper::finish_device_access() {
  kvm_run& shared = vm_->shared();
  shared.immediate_exit = 1;
  for (int piece = 0; piece < kMostDevicePieces; ++piece) {
    if (vm_->run() != 0) break;
    if (shared.exit_reason != KVM_EXIT_MMIO && shared.exit_reason != KVM_EXIT_IO) break;
  }
  shared.immediate_exit = 0;
}

StepOutcome Stepper::step(const Instruction& instruction) {
  const std::uint64_t count =
      repeated(instruction) ? counter_of(cpu_.state.gpr[kRcx], instruction.address_size) : 0;
  if (repeated(instruction) && count == 0) return StepOutcome::not_taken;
  if (vm_spent_) {
    collect_dirty_pages();
    create_vm();
  }
  if (!load(instruction, count)) {
    everything_stale_ = true;
    return StepOutcome::not_taken;
  }
  int interrupted = 0;
  do {
    interrupted = vm_->run();
    ran_ = true;
    if (interrupted != 0 && give_up_ != nullptr && *give_up_) {
      everything_stale_ = vm_spent_ = true;
      return StepOutcome::unsupported;
    }
  } while (interrupted != 0);
  vm_->shared().kvm_dirty_regs = 0;
  switch (vm_->shared().exit_reason) {
    case KVM_EXIT_DEBUG:
      break;
    case KVM_EXIT_HLT:
      if (interrupt_table_ == InterruptTable::guest) break;
      everything_stale_ = true;
      return StepOutcome::not_taken;
    case KVM_EXIT_MMIO:
    case KVM_EXIT_IO:
      finish_device_access();
      everything_stale_ = true;
      return StepOutcome::not_taken;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
      vm_->shared().msr.error = 1;
      finish_device_access();
      everything_stale_ = true;
      return StepOutcome::not_taken;
    case KVM_EXIT_INTERNAL_ERROR:
      everything_stale_ = true;
      return StepOutcome::unsupported;
    default:
      everything_stale_ = true;
      vm_spent_ = !capabilities_.reusable_after_fault;
      return StepOutcome::not_taken;
  }
  read_exit();
  return take_result(instruction, count);
}

/// Whether one step of `instruction` at `start` can have led to `rip`.
bool Stepper::may_end_at(const Instruction& instruction, std::uint64_t start,
                         std::uint64_t rip) const {
  if (!cpu_.long64() && cpu_.code_width() != 4) return true;  // IP wraps around in its own way
  const auto cut = [&](std::uint64_t at) {
    return cpu_.long64() ? at : static_cast<std::uint32_t>(at);
  };
  const std::uint64_t behind = cut(start + instruction.length());
  const bool straight =
      instruction.row != kNoRow && (row_attributes(instruction) & kEndsBlock) == 0;
  if (straight) return rip == behind;
  const bool conditional = (row_attributes(instruction) & kConditional) != 0;
  const std::uint64_t target = cut(behind + instruction.immediate);
  const bool short_target = instruction.operand_size == 2 && rip == (target & 0xffff);
  return !conditional || rip == behind || rip == target || short_target;
}

StepOutcome Stepper::take_result(const Instruction& instruction, std::uint64_t count) {
  const std::uint64_t start = loaded_regs_.rip;
  if (count == 0 && exit_regs_.rip == start) {
    // Some KVMs end a step that met a device so, with nothing done. A jump to
    // itself looks the same and loses nothing by being executed again.
    everything_stale_ = true;
    return StepOutcome::not_taken;
  }
  loaded_regs_ = exit_regs_;
  if (interrupt_table_ == InterruptTable::guest) {
    everything_stale_ = true;
    return StepOutcome::handler;  // the cross-check sorts out what happened
  }
  if (count == 0 && !may_end_at(instruction, start, exit_regs_.rip)) {
    everything_stale_ = true;
    return StepOutcome::too_far;
  }
  StepOutcome outcome = StepOutcome::retired;
  kvm_regs result = exit_regs_;
  if (count != 0) {
    if (counter_of(result.rcx, instruction.address_size) != 0) {
      everything_stale_ = true;
      return StepOutcome::not_taken;  // the iteration was not made
    }
    const std::uint64_t left = count - 1;
    result.rcx = with_counter(result.rcx, instruction.address_size, left);
    const bool equal = (result.rflags & kZf) != 0;
    const bool finished =
        left == 0 || (compares(instruction) && equal != (instruction.repeat == 0xf3));
    if (!finished) outcome = StepOutcome::unfinished;
    result.rip = finished ? start + instruction.length() : start;
    if (!cpu_.long64()) result.rip = static_cast<std::uint32_t>(result.rip);
  }
  from_kvm_regs(cpu_, result);
  from_kvm_sregs(cpu_, exit_sregs_, {capabilities_.keeps_granularity});
  // Where KVM's words for the same state differ from ours, ours are remembered.
  const __u16 idt_limit = loaded_sregs_.idt.limit;
  loaded_sregs_ = to_kvm_sregs(cpu_, template_sregs_);
  loaded_sregs_.idt.limit = idt_limit;
  if (touches_vector_state(instruction)) {
    from_kvm_floating_point(cpu_.state, vm_->floating_point());
    loaded_floating_point_ = to_kvm_floating_point(cpu_.state);
  }
  return outcome;
}

const std::vector<std::uint64_t>& Stepper::collect_dirty_pages() {
  dirty_.clear();
  if (!ran_) return dirty_;
  ran_ = false;
  for (Slot& slot : slots_) {
    vm_->dirty_log(slot.number, slot.bitmap);
    for (std::size_t word = 0; word < slot.bitmap.size(); ++word) {
      for (std::uint64_t bits = slot.bitmap[word]; bits != 0; bits &= bits - 1) {
        dirty_.push_back(slot.first_page + word * 64 +
                         static_cast<unsigned>(std::countr_zero(bits)));
      }
    }
  }
  bool tables = false;
  for (const std::uint64_t page : dirty_) {
    ram_.mark_dirty(page);
    tables = tables || (ram_.use(page) & kPageHasTables) != 0;
    if (ram_.use(page) != 0) cpu_.before_write_to_used_page(page * kPageSize, kPageSize);
  }
  // The old entries are gone, so which translations came from them is not known.
  if (tables) cpu_.flush_tlb();
  return dirty_;
}

std::string Stepper::last_exit() const {
  const kvm_run& shared = vm_->shared();
  std::string text = exit_name(shared.exit_reason);
  if (shared.exit_reason == KVM_EXIT_INTERNAL_ERROR) {
    text += " " + std::to_string(shared.internal.suberror);
  }
  return text;
}

}  // namespace chronovisor::kvm
