#include "vmm/cpu/cpu.h"

#include "base/section.h"
#include "base/text.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/cpu/state/visit.h"
#include "vmm/cpu/translate/settings.h"
#include "vmm/cpu/translate/translator.h"

namespace chronovisor {
namespace {

/// No run is longer; beyond, virtual time would overflow.
constexpr std::uint64_t kMostSteps = 1ULL << 52;

}  // namespace

Cpu::Cpu(Ram& ram, CpuEnvironment& environment)
    : ram_(ram),
      environment_(environment),
      watch_(state),
      mmu_(ram, environment, state, watch_, *this) {
  ram_.set_listener(this);
  set_translation(translate::default_settings());
  reset();
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
  mode_.set_cpl(0);
  run_.steps = 0;
  inside_repeat_ = false;
  state_replaced();
}

void Cpu::reset_line() {
  CHECK_THAT(run_.idle(), "a reset while an instruction executes");
  const std::uint64_t steps = run_.steps;
  const std::uint32_t deliveries = deliveries_;
  const std::uint64_t random_counter = state.random_counter;
  reset();
  run_.steps = steps;
  deliveries_ = deliveries;
  state.random_counter = random_counter;
}

void Cpu::set_position(Position position) {
  CHECK_THAT(run_.idle(), "set_position while an instruction executes");
  run_.steps = position.steps;
}

void Cpu::visit_state(StateVisitor& visitor) {
  CHECK_THAT(run_.idle(), "state is whole between steps only");
  bounded_field(visitor, "steps", run_.steps, kMostSteps);
  visit_general_registers(visitor, state);
  std::uint32_t rflags = flags.value();
  visitor.field("rflags", rflags);
  flags.set(rflags);
  auto cpl = static_cast<std::uint8_t>(mode_.cpl());
  bounded_field(visitor, "cpl", cpl, 3);
  mode_.set_cpl(cpl);
  visit_msrs(visitor, state.msr);
  visit_floating_point(visitor, state);
  visit_pending(visitor, state);
  visitor.field("inside_repeat", inside_repeat_);  // for observers, who may start from here
  require_modes(state, rflags);
}

void Cpu::state_replaced() {
  state.gpr[kGprZero] = 0;
  deliveries_ = 0;
  watch_.forget_hit_between_steps();
  watched_by_ = {};
  context_set_at_ = Position{kNever};
  flush_tlb();
  derive_mode();
}

void Cpu::page_replaced(std::uint64_t page) {
  if ((ram_.use(page) & kPageHasCode) == 0) return;
  (void)code_.invalidate(page * kPageSize, kPageSize);
  if (!code_.page_has_blocks(page)) ram_.remove_use(page, kPageHasCode);
}

void Cpu::before_write_to_used_page(std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t page = offset / kPageSize;
  if ((ram_.use(page) & kPageHasCode) != 0) {
    if (code_.invalidate(offset, size)) leave_block();
    if (!code_.page_has_blocks(page)) ram_.remove_use(page, kPageHasCode);
  }
  if ((ram_.use(page) & kPageHasTables) != 0) mmu_.before_write_to_tables(offset, size);
}

void Cpu::device_wrote(const DmaWriter& writer, GuestPhysical address, std::uint64_t size) {
  const auto describe = [&writer](GuestPhysical first) {
    DeviceRequest request;
    if (writer.cause == nullptr) return request;
    request.text = writer.cause->request_at(first.value - writer.into.value) + ", into " +
                   hex_text(writer.into.value);
    request.started_steps = writer.cause->started().steps;
    return request;
  };
  const auto outcome = watch_.device_wrote(
      writer.device, address, size,
      [this](GuestLinear linear) { return translate_for_debugger(linear); }, describe);
  if (outcome == AccessWatch::Outcome::go_on) return;
  if (run_.idle()) {
    // Nothing executes: what a device does on arrival happens at this moment.
    moment_before_ = {{run_.steps}, deliveries_};
    watch_.note_hit_between_steps();
  } else {
    watch_.note_hit();
    leave_block();
  }
}

void Cpu::set_debug_hooks(DebugHooks* hooks) {
  watch_.set_hooks(hooks);
  flush_tlb();
}

void Cpu::set_access_observer(AccessObserver* observer) {
  watch_.set_observer(observer);
  if (translator_ != nullptr) translator_->observer_changed();
  flush_tlb();
}

void Cpu::set_translation(const translate::Settings& settings) {
  code_.clear();  // blocks point to what is dropped
  translator_.reset();
  if (settings.mode != translate::Mode::off) {
    translator_ = std::make_unique<translate::Translator>(*this, settings);
    translator_->observer_changed();
  }
  code_.set_listener(translator_.get());
}

void Cpu::note_port_access(std::uint16_t port, unsigned size) {
  if (watch_.port_accessed(port, size) == AccessWatch::Outcome::stop_at_boundary) leave_block();
}

CpuCounters Cpu::counters() const {
  CpuCounters counters = counters_;
  counters.blocks_decoded = code_.blocks_decoded();
  counters.slow_accesses = mmu_.counters().slow_accesses;
  counters.page_walks = mmu_.counters().page_walks;
  return counters;
}

// ---- mode ---------------------------------------------------------------------------

void Cpu::derive_mode() {
  if (mode_changes_ != 0) return;
  mode_.derive(state, flags);
  mmu_.set_context(mode_, flags);
  leave_block();
}

void Cpu::set_cr0(std::uint64_t cr0, std::uint64_t efer) {
  constexpr std::uint64_t kTranslates = std::uint64_t{kCr0Pg} | kCr0Wp | kCr0Pe;
  const std::uint64_t changed = cr0 ^ state.cr0;
  state.cr0 = cr0;
  state.msr.efer = efer;
  if ((changed & kTranslates) != 0) flush_tlb();
  derive_mode();
}

void Cpu::set_cr3(std::uint64_t cr3) {
  context_set_at_ = run_.position();
  const std::uint64_t before = std::exchange(state.cr3, cr3);
  mmu_.root_changed(before);
  leave_block();
}

void Cpu::set_cr4(std::uint64_t cr4) {
  constexpr std::uint64_t kTranslates =
      std::uint64_t{kCr4Pae} | kCr4Pse | kCr4Smep | kCr4Smap;  // a coherent TLB needs no others
  const std::uint64_t changed = cr4 ^ state.cr4;
  state.cr4 = cr4;
  if ((changed & kTranslates) != 0) flush_tlb();
  derive_mode();
}

void Cpu::set_efer(std::uint64_t efer) {
  const std::uint64_t changed = efer ^ state.msr.efer;
  state.msr.efer = efer;
  if ((changed & kEferNxe) != 0) flush_tlb();
  derive_mode();
}

void Cpu::set_segment(unsigned index, const SegmentRegister& segment) {
  if (index == kCs) context_set_at_ = run_.position();
  state.segment[index] = segment;
  if (index == kCs || index == kSs) {
    derive_mode();
  } else if (mode_changes_ == 0) {
    mode_.derive_segment(state, index);
  }
}

void Cpu::set_segment_base(unsigned index, std::uint64_t base) {
  SegmentRegister segment = state.segment[index];
  segment.base = base;
  set_segment(index, segment);
}

void Cpu::set_cpl(unsigned cpl) {
  mode_.set_cpl(cpl);
  derive_mode();
}

// ---- faults -------------------------------------------------------------------------

void Cpu::raise(std::uint8_t vector) const { throw GuestFault::plain(vector); }

void Cpu::raise(std::uint8_t vector, std::uint32_t error_code) const {
  throw GuestFault::with_code(vector, error_code);
}

// ---- looks from outside ---------------------------------------------------------------

std::optional<GuestPhysical> Cpu::translate_for_debugger(GuestLinear linear) const {
  const Walk walk = mmu_.look(linear);
  if (walk.end != WalkEnd::mapped) return std::nullopt;
  return walk.physical;
}

bool Cpu::accessed_throughout(GuestLinear linear) const {
  const Walk walk = mmu_.look(linear);
  return walk.end == WalkEnd::mapped && walk.all_accessed;
}

std::array<std::uint64_t, 4> Cpu::checked_pdptes(std::uint64_t cr3) {
  const auto entries = mmu_.read_pdptes(cr3);
  if (!entries) raise_gp0();
  return *entries;
}

}  // namespace chronovisor
