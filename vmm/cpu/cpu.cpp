#include "vmm/cpu/cpu.h"

#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/cpu/translate/settings.h"
#include "vmm/cpu/translate/translator.h"

namespace chronovisor {
namespace {

void visit_segment(StateVisitor& visitor, const std::string& name, SegmentRegister& segment) {
  visitor.field(name + ".selector", segment.selector);
  visitor.field(name + ".attributes", segment.attributes);
  visitor.field(name + ".limit", segment.limit);
  visitor.field(name + ".base", segment.base);
}

void visit_table(StateVisitor& visitor, const std::string& name, DescriptorTableRegister& table) {
  visitor.field(name + ".base", table.base);
  visitor.field(name + ".limit", table.limit);
}

void visit_general(StateVisitor& visitor, CpuState& state) {
  static constexpr std::array<const char*, 16> kNames{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                      "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                      "r12", "r13", "r14", "r15"};
  for (std::size_t n = 0; n < kNames.size(); ++n) visitor.field(kNames[n], state.gpr[n]);
  visitor.field("rip", state.gpr[kGprRip]);
  static constexpr std::array<const char*, kSegmentCount> kSegments{"es", "cs", "ss",
                                                                    "ds", "fs", "gs"};
  for (std::size_t n = 0; n < kSegments.size(); ++n) {
    visit_segment(visitor, kSegments[n], state.segment[n]);
  }
  visit_segment(visitor, "ldtr", state.ldtr);
  visit_segment(visitor, "tr", state.tr);
  visit_table(visitor, "gdtr", state.gdtr);
  visit_table(visitor, "idtr", state.idtr);
  visitor.field("cr0", state.cr0);
  visitor.field("cr2", state.cr2);
  visitor.field("cr3", state.cr3);
  visitor.field("cr4", state.cr4);
  visitor.field("xcr0", state.xcr0);
  visitor.field("pdpte", state.pdpte);
  visitor.field("dr", state.dr);
  visitor.field("dr6", state.dr6);
  visitor.field("dr7", state.dr7);
}

void visit_msrs(StateVisitor& visitor, CpuMsrs& msr) {
  visitor.field("msr.efer", msr.efer);
  visitor.field("msr.star", msr.star);
  visitor.field("msr.lstar", msr.lstar);
  visitor.field("msr.cstar", msr.cstar);
  visitor.field("msr.fmask", msr.fmask);
  visitor.field("msr.kernel_gs_base", msr.kernel_gs_base);
  visitor.field("msr.sysenter_cs", msr.sysenter_cs);
  visitor.field("msr.sysenter_esp", msr.sysenter_esp);
  visitor.field("msr.sysenter_eip", msr.sysenter_eip);
  visitor.field("msr.tsc_aux", msr.tsc_aux);
  visitor.field("msr.tsc_offset", msr.tsc_offset);
  visitor.field("msr.tsc_adjust", msr.tsc_adjust);
  visitor.field("msr.pat", msr.pat);
  visitor.field("msr.misc_enable", msr.misc_enable);
  visitor.field("msr.mtrr_def_type", msr.mtrr_def_type);
  visitor.field("msr.mtrr_variable", msr.mtrr_variable);
  visitor.field("msr.mtrr_fixed", msr.mtrr_fixed);
  visitor.field("msr.debug_control", msr.debug_control);
  visitor.field("msr.mcg_status", msr.mcg_status);
  visitor.field("msr.microcode_revision", msr.microcode_revision);
  visitor.field("msr.spec_control", msr.spec_control);
}

void visit_floating_point(StateVisitor& visitor, CpuState& state) {
  for (std::size_t n = 0; n < state.x87.st.size(); ++n) {
    const std::string name = "x87.physical" + std::to_string(n);
    visitor.field(name + ".significand", state.x87.st[n].significand);
    visitor.field(name + ".sign_exponent", state.x87.st[n].sign_exponent);
  }
  visitor.field("x87.control", state.x87.control);
  visitor.field("x87.status", state.x87.status);
  visitor.field("x87.tag", state.x87.tag);
  visitor.field("x87.last_opcode", state.x87.last_opcode);
  visitor.field("x87.last_cs", state.x87.last_cs);
  visitor.field("x87.last_ds", state.x87.last_ds);
  visitor.field("x87.last_ip", state.x87.last_ip);
  visitor.field("x87.last_dp", state.x87.last_dp);
  for (std::size_t n = 0; n < state.xmm.size(); ++n) {
    visitor.field("xmm" + std::to_string(n), state.xmm[n]);
  }
  visitor.field("mxcsr", state.mxcsr);
}

}  // namespace

Cpu::Cpu(Ram& ram, CpuEnvironment& environment)
    : ram_(ram),
      environment_(environment),
      tlbs_(std::make_unique<std::array<Tlb, kTlbContexts>>()),
      page_marks_(ram.page_count()),
      blocks_(std::make_unique<BlockCache>()),
      once_(std::make_unique<Block>()),
      jumps_(kJumps) {
  tlb_ = tlbs_->data();
  current_ = block_begin_ = idle_instruction();
  block_end_ = current_ + 1;
  ram_.set_listener(this);
  set_translation(translate::default_settings());
  reset();
}

const Instruction* Cpu::idle_instruction() {
  static constexpr std::array<Instruction, 2> kIdle{};
  return kIdle.data();
}

Cpu::~Cpu() { ram_.set_listener(nullptr); }

void Cpu::reset() {
  state = CpuState{};
  flags.set(0);
  for (SegmentRegister& segment : state.segment) segment = {0, 0x93, 0xffff, 0};
  state.segment[kCs] = {0xf000, 0x9b, 0xffff, 0xffff0000};
  state.ldtr = {0, 0x82, 0xffff, 0};
  state.tr = {0, 0x8b, 0xffff, 0};
  state.gdtr.limit = state.idtr.limit = 0xffff;
  state.cr0 = kCr0Et | kCr0Nw | kCr0Cd;
  state.gpr[kRdx] = 0x000106ca;  // family, model and stepping, as CPUID.1:EAX
  rip() = 0xfff0;
  cpl_ = 0;
  steps_ = 0;
  inside_repeat_ = false;
  state_restored();
}

void Cpu::set_position(Position position) {
  CHECK_THAT(current_ == idle_instruction(), "set_position while an instruction executes");
  steps_ = position.steps;
}

void Cpu::settle_steps() {
  steps_ = position().steps;
  iterations_ = 0;
  current_ = block_begin_ = idle_instruction();
  block_end_ = current_ + 1;
}

void Cpu::visit_state(StateVisitor& visitor) {
  CHECK_THAT(current_ == idle_instruction(), "state is whole between steps only");
  visitor.field("steps", steps_);
  visit_general(visitor, state);
  std::uint32_t rflags = flags.value();
  visitor.field("rflags", rflags);
  flags.set(rflags);
  visitor.field("cpl", cpl_);
  visit_msrs(visitor, state.msr);
  visit_floating_point(visitor, state);
  visitor.field("shadow", state.shadow);
  visitor.field("halted", state.halted);
  visitor.field("shutdown", state.shutdown);
  visitor.field("nmi_blocked", state.nmi_blocked);
  visitor.field("nmi_pending", state.nmi_pending);
  visitor.field("pending_debug", state.pending_debug);
  visitor.field("random_counter", state.random_counter);
  visitor.field("inside_repeat", inside_repeat_);  // for observers, who may start from here
}

void Cpu::state_restored() {
  state.gpr[kGprZero] = 0;
  deliveries_ = 0;
  flush_tlb();
  mode_changed();
}

void Cpu::page_replaced(std::uint64_t page) {
  if ((ram_.use(page) & kPageHasCode) == 0) return;
  if (blocks_->invalidate(page * kPageSize, kPageSize)) forget_jumps();
  if (!blocks_->page_has_blocks(page)) ram_.remove_use(page, kPageHasCode);
}

void Cpu::set_debug_hooks(DebugHooks* hooks) {
  hooks_ = hooks;
  flush_tlb();
}

void Cpu::set_access_observer(AccessObserver* observer) {
  observer_ = observer;
  ++observer_interval_;
  if (translator_ != nullptr) translator_->observer_changed();
  flush_tlb();
}

void Cpu::set_translation(const translate::Settings& settings) {
  blocks_->clear();  // they point to what is dropped
  forget_jumps();
  translator_.reset();
  if (settings.mode != translate::Mode::off) {
    translator_ = std::make_unique<translate::Translator>(*this, settings);
    translator_->observer_changed();
  }
  blocks_->set_listener(translator_.get());
}

void Cpu::segment_changed(unsigned index) {
  const SegmentRegister& s = state.segment[index];
  segment_base_[index] = mode_ == CpuMode::long64 && index < kFs ? 0 : s.base;
  const bool typed = mode_ == CpuMode::protected_mode || mode_ == CpuMode::compatibility;
  std::uint8_t shortcut = 3;
  if (typed) {
    const bool code = (s.type() & 8) != 0;
    const bool usable = s.present() && s.code_or_data() && (code || (s.type() & 4) == 0);
    shortcut = 0;
    if (usable && (!code || (s.type() & 2) != 0)) shortcut |= 1;
    if (usable && !code && (s.type() & 2) != 0) shortcut |= 2;
  } else if (s.code_or_data() && (s.type() & 0xc) == 4) {
    shortcut = 0;  // expand-down, left over from protected mode
  }
  segment_shortcut_[index] = shortcut;
}

void Cpu::mode_changed() {
  if ((state.cr0 & kCr0Pe) == 0) {
    mode_ = CpuMode::real;
    cpl_ = 0;
  } else if (flags.test(kVm)) {
    mode_ = CpuMode::virtual8086;
    cpl_ = 3;
  } else if (!long_mode_active()) {
    mode_ = CpuMode::protected_mode;
  } else {
    mode_ = state.segment[kCs].long_mode() ? CpuMode::long64 : CpuMode::compatibility;
  }
  const bool wide = mode_ == CpuMode::long64;
  code_width_ = wide || state.segment[kCs].big() ? 4 : 2;
  stack_width_ = wide ? 8 : (state.segment[kSs].big() ? 4 : 2);
  for (unsigned index = 0; index < kSegmentCount; ++index) segment_changed(index);

  TlbContext context = access_context(false);
  if (cpl_ == 3 && (state.cr0 & kCr0Am) != 0 && flags.test(kAc)) context = TlbContext::no_fast_path;
  tlb_ = &(*tlbs_)[static_cast<std::size_t>(context)];
  const bool typed = mode_ != CpuMode::real && mode_ != CpuMode::virtual8086;
  mode_key_ =
      (wide ? 1U : 0U) | (typed ? 2U : 0U) | (code_width_ == 4 ? 4U : 0U) | (cpl_ == 3 ? 8U : 0U);
  leave_block();
}

void Cpu::raise(std::uint8_t vector) const { throw GuestFault{vector, false, 0, 0}; }

void Cpu::raise(std::uint8_t vector, std::uint32_t error_code) const {
  throw GuestFault{vector, true, error_code, 0};
}

void Cpu::raise_page_fault(std::uint64_t linear, std::uint32_t error_code) const {
  throw GuestFault{kPageFault, true, error_code, linear};
}

}  // namespace chronovisor
