#include "vmm/devices/interrupt/local_apic.h"

#include <bit>
#include <utility>

#include "vmm/cpu/state/msr.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kBaseModes = kApicBaseX2apic | kApicBaseEnable;

// Registers by number: MMIO offset / 16, x2APIC MSR - 0x800.
constexpr unsigned kId = 0x02;
constexpr unsigned kVersion = 0x03;
constexpr unsigned kTpr = 0x08;
constexpr unsigned kApr = 0x09;
constexpr unsigned kPpr = 0x0a;
constexpr unsigned kEoi = 0x0b;
constexpr unsigned kLdr = 0x0d;
constexpr unsigned kDfr = 0x0e;
constexpr unsigned kSvr = 0x0f;
constexpr unsigned kIsr = 0x10;
constexpr unsigned kTmr = 0x18;
constexpr unsigned kIrr = 0x20;
constexpr unsigned kEsr = 0x28;
constexpr unsigned kIcrLow = 0x30;
constexpr unsigned kIcrHigh = 0x31;
constexpr unsigned kLvtTimer = 0x32;
constexpr unsigned kLvtError = 0x37;
constexpr unsigned kInitialCount = 0x38;
constexpr unsigned kCurrentCount = 0x39;
constexpr unsigned kDivide = 0x3e;
constexpr unsigned kSelfIpi = 0x3f;

constexpr std::uint32_t kLvtMasked = 1U << 16;
constexpr std::uint32_t kLvtLevel = 1U << 15;
constexpr std::uint32_t kLvtRemoteIrr = 1U << 14;
constexpr std::uint32_t kSvrEnable = 1U << 8;
constexpr std::uint32_t kSvrWritable = 0x3ff;  // vector, enable, focus checking

constexpr std::uint32_t kErrorSendVector = 1U << 5;
constexpr std::uint32_t kErrorReceiveVector = 1U << 6;
constexpr std::uint32_t kErrorRegister = 1U << 7;

/// timer, thermal, performance, LINT0, LINT1, error
constexpr std::array<std::uint32_t, 6> kLvtWritable = {0x700ff, 0x107ff, 0x107ff,
                                                       0x1a7ff, 0x1a7ff, 0x100ff};
/// Read-only bits that x2APIC software may write back without #GP.
constexpr std::array<std::uint32_t, 6> kLvtReadOnly = {0x1000, 0x1000, 0x1000,
                                                       0x5000, 0x5000, 0x1000};

constexpr std::uint32_t version_register() {
  return 0x14U | (5U << 16);  // integrated xAPIC, six LVT entries
}

int highest_bit(const std::array<std::uint32_t, 8>& bits) {
  for (int word = 7; word >= 0; --word) {
    const std::uint32_t value = bits[static_cast<unsigned>(word)];
    if (value != 0) return 32 * word + std::bit_width(value) - 1;
  }
  return -1;
}

void assign_bit(std::array<std::uint32_t, 8>& bits, unsigned index, bool value) {
  const std::uint32_t mask = 1U << (index & 31);
  std::uint32_t& word = bits[index >> 5];
  word = value ? word | mask : word & ~mask;
}

bool test_bit(const std::array<std::uint32_t, 8>& bits, unsigned index) {
  return ((bits[index >> 5] >> (index & 31)) & 1) != 0;
}

}  // namespace

LocalApic::LocalApic(const Clock& clock, ApicBus& bus, unsigned physical_address_bits,
                     std::uint32_t id)
    : clock_(clock),
      bus_(bus),
      physical_mask_((std::uint64_t{1} << physical_address_bits) - 1),
      id_(id) {
  base_ = kDefaultBase | kApicBaseEnable | (id == 0 ? kApicBaseBsp : 0);
  reset_registers();
}

void LocalApic::on_output_changed(std::function<void()> callback) {
  output_changed_ = std::move(callback);
}

void LocalApic::on_nmi(std::function<void()> callback) { nmi_ = std::move(callback); }

void LocalApic::changed() {
  deadline_changed();
  if (output_changed_) output_changed_();
}

/// SDM vol. 3A, "Local APIC State After Power-Up or Reset".
void LocalApic::reset_registers() {
  xapic_id_ = static_cast<std::uint8_t>(id_);
  tpr_ = 0;
  ldr_ = 0;
  dfr_ = 0xffffffff;
  svr_ = 0xff;
  isr_ = {};
  tmr_ = {};
  irr_ = {};
  esr_ = 0;
  errors_ = 0;
  icr_ = 0;
  lvt_.fill(kLvtMasked);
  initial_count_ = 0;
  divide_ = 0;
  tsc_deadline_ = 0;
  expiry_ns_ = kNever;
}

void LocalApic::reset() {
  base_ = kDefaultBase | kApicBaseEnable | (id_ == 0 ? kApicBaseBsp : 0);
  tsc_offset_ = 0;
  reset_registers();
  place_page();
  changed();
}

void LocalApic::state_restored() { place_page(); }

/// SDM vol. 3A, "Relocating the Local APIC Registers".
void LocalApic::place_page() {
  if (xapic()) {
    page_.place(base_ & physical_mask_ & ~std::uint64_t{kPageSize - 1});
  } else {
    page_.remove();
  }
}

void LocalApic::declare(Declaration& declaration) {
  declaration.memory_window(page_, *this, Precedence::processor);
  declaration.deadlines();
  FirmwareFacts& facts = declaration.firmware();
  facts.local_apic_base = kDefaultBase;
  facts.processors.push_back(
      {static_cast<std::uint8_t>(id_), static_cast<std::uint8_t>(version_register())});
}

void LocalApic::set_virtual_wire() {
  svr_ |= kSvrEnable;
  lvt_[kLint0] = static_cast<std::uint32_t>(ApicDeliveryMode::external) << 8;
  lvt_[kLint1] = static_cast<std::uint32_t>(ApicDeliveryMode::nmi) << 8;
  changed();
}

void LocalApic::visit_state(StateVisitor& visitor) {
  visitor.field("base", base_);
  visitor.field("xapic_id", xapic_id_);
  visitor.field("tpr", tpr_);
  visitor.field("ldr", ldr_);
  visitor.field("dfr", dfr_);
  visitor.field("svr", svr_);
  visitor.field("isr", isr_);
  visitor.field("tmr", tmr_);
  visitor.field("irr", irr_);
  visitor.field("esr", esr_);
  visitor.field("errors", errors_);
  visitor.field("icr", icr_);
  visitor.field("lvt", lvt_);
  visitor.field("lint0", lint0_);
  visitor.field("lint1", lint1_);
  visitor.field("initial_count", initial_count_);
  visitor.field("divide", divide_);
  visitor.field("tsc_deadline", tsc_deadline_);
  visitor.field("tsc_offset", tsc_offset_);
  visitor.field("expiry_ns", expiry_ns_);
}

bool LocalApic::hardware_enabled() const { return (base_ & kApicBaseEnable) != 0; }
bool LocalApic::xapic() const { return (base_ & kBaseModes) == kApicBaseEnable; }
bool LocalApic::x2apic() const { return (base_ & kBaseModes) == kBaseModes; }
bool LocalApic::software_enabled() const { return (svr_ & kSvrEnable) != 0; }

std::uint8_t LocalApic::processor_priority() const {
  const int serving = highest_bit(isr_);
  const std::uint32_t isrv = serving < 0 ? 0 : static_cast<std::uint32_t>(serving);
  return static_cast<std::uint8_t>((tpr_ & 0xf0) >= (isrv & 0xf0) ? tpr_ : isrv & 0xf0);
}

bool LocalApic::pending() const {
  if (!hardware_enabled()) return false;
  const int vector = highest_bit(irr_);
  return vector >= 0 && (vector >> 4) > (processor_priority() >> 4);
}

std::uint8_t LocalApic::acknowledge() {
  if (!pending()) return static_cast<std::uint8_t>(svr_);
  const auto vector = static_cast<unsigned>(highest_bit(irr_));
  assign_bit(irr_, vector, false);
  assign_bit(isr_, vector, true);
  changed();
  return static_cast<std::uint8_t>(vector);
}

bool LocalApic::accepts_external() const {
  if (!hardware_enabled()) return true;
  return (lvt_[kLint0] & (kLvtMasked | 0x700)) == 0x700;
}

void LocalApic::set_cr8(std::uint8_t value) {
  tpr_ = (value & 15U) << 4;
  changed();
}

void LocalApic::accept(std::uint8_t vector, ApicTrigger trigger) {
  if (vector < 16) {
    raise_error(kErrorReceiveVector);
    return;
  }
  assign_bit(irr_, vector, true);
  assign_bit(tmr_, vector, trigger == ApicTrigger::level);
}

void LocalApic::raise_error(std::uint32_t bit) {
  errors_ |= bit;
  const std::uint32_t entry = lvt_[kError];
  // An illegal vector in the error entry itself is only noted.
  if ((entry & kLvtMasked) != 0 || (entry & 0xff) < 16) return;
  assign_bit(irr_, entry & 0xff, true);
  assign_bit(tmr_, entry & 0xff, false);
}

void LocalApic::deliver_local(unsigned index, ApicTrigger trigger) {
  const std::uint32_t entry = lvt_[index];
  if ((entry & kLvtMasked) != 0) return;
  switch (static_cast<ApicDeliveryMode>((entry >> 8) & 7)) {
    case ApicDeliveryMode::fixed:
      accept(static_cast<std::uint8_t>(entry), trigger);
      break;
    case ApicDeliveryMode::nmi:
      if (nmi_) nmi_();
      break;
    default:
      break;  // ExtINT is accepts_external(); SMI and INIT have no receiver
  }
}

void LocalApic::send_level_lint(unsigned index) {
  std::uint32_t& entry = lvt_[index];
  const bool level = index == kLint0 ? lint0_ : lint1_;
  const bool fixed_level = (entry & (0x700 | kLvtLevel)) == kLvtLevel;
  if (!level || !fixed_level || (entry & (kLvtMasked | kLvtRemoteIrr)) != 0) return;
  entry |= kLvtRemoteIrr;
  deliver_local(index, ApicTrigger::level);
}

void LocalApic::set_pin(unsigned index, bool& pin, bool level) {
  if (pin == level) return;
  pin = level;
  if (level) {
    if (!hardware_enabled()) {
      if (index == kLint1 && nmi_) nmi_();
    } else if ((lvt_[index] & (0x700 | kLvtLevel)) == kLvtLevel) {
      send_level_lint(index);
    } else {
      deliver_local(index, ApicTrigger::edge);
    }
  }
  changed();
}

void LocalApic::set_lint0(bool level) { set_pin(kLint0, lint0_, level); }
void LocalApic::set_lint1(bool level) { set_pin(kLint1, lint1_, level); }

std::uint32_t LocalApic::logical_id() const {
  if (x2apic()) return ((id_ >> 4) << 16) | (1U << (id_ & 15));
  return ldr_;
}

bool LocalApic::addressed(const ApicMessage& message) const {
  const std::uint32_t destination = message.destination;
  if (destination == 0xff || destination == 0xffffffff) return true;
  if (message.destination_mode == ApicDestinationMode::physical) {
    return destination == (x2apic() ? id_ : xapic_id_);
  }
  if (x2apic()) {
    const std::uint32_t mine = logical_id();
    return (destination >> 16) == (mine >> 16) && (destination & mine & 0xffff) != 0;
  }
  const std::uint32_t mine = ldr_ >> 24;
  if ((dfr_ >> 28) == 0xf) return (destination & mine) != 0;
  const bool cluster = (destination >> 4) == (mine >> 4) || (destination >> 4) == 0xf;
  return cluster && (destination & mine & 0x0f) != 0;
}

void LocalApic::deliver(const ApicMessage& message) {
  if (!hardware_enabled() || !addressed(message)) return;
  switch (message.delivery_mode) {
    case ApicDeliveryMode::fixed:
    case ApicDeliveryMode::lowest_priority:
      if (!software_enabled()) return;
      accept(message.vector, message.trigger);
      break;
    case ApicDeliveryMode::nmi:
      if (nmi_) nmi_();
      break;
    default:
      return;
  }
  changed();
}

void LocalApic::end_of_interrupt() {
  const int serving = highest_bit(isr_);
  if (serving < 0) return;
  const auto vector = static_cast<unsigned>(serving);
  assign_bit(isr_, vector, false);
  if (!test_bit(tmr_, vector)) return;
  for (const unsigned index : {unsigned{kLint0}, unsigned{kLint1}}) {
    if ((lvt_[index] & kLvtRemoteIrr) == 0 || (lvt_[index] & 0xff) != vector) continue;
    lvt_[index] &= ~kLvtRemoteIrr;
    send_level_lint(index);
  }
  bus_.broadcast_eoi(static_cast<std::uint8_t>(vector));
}

void LocalApic::send_ipi() {
  ApicMessage message;
  message.vector = static_cast<std::uint8_t>(icr_);
  message.delivery_mode = static_cast<ApicDeliveryMode>((icr_ >> 8) & 7);
  message.destination_mode = static_cast<ApicDestinationMode>((icr_ >> 11) & 1);
  message.destination = static_cast<std::uint32_t>(x2apic() ? icr_ >> 32 : icr_ >> 56);
  const bool fixed = message.delivery_mode == ApicDeliveryMode::fixed ||
                     message.delivery_mode == ApicDeliveryMode::lowest_priority;
  if (fixed && message.vector < 16) {
    raise_error(kErrorSendVector);
    return;
  }
  switch ((icr_ >> 18) & 3) {
    case 0:
      break;
    case 1:  // self: fixed only
      if (message.delivery_mode != ApicDeliveryMode::fixed) return;
      message.destination = 0xffffffff;
      break;
    case 2:  // all including self
      message.destination = 0xffffffff;
      break;
    default:  // all but self: there is nobody else
      return;
  }
  deliver(message);
}

bool LocalApic::owns_msr(std::uint32_t index) { return is_apic_msr(index); }

bool LocalApic::read_msr(std::uint32_t index, std::uint64_t& value) {
  if (index == kMsrApicBase) {
    value = base_;
    return true;
  }
  if (index == kMsrTscDeadline) {
    settle_timer(clock_.now().ns);
    value = timer_mode() == TimerMode::tsc_deadline ? tsc_deadline_ : 0;
    return true;
  }
  if (index < kMsrX2apicFirst || index > kMsrX2apicLast || !x2apic()) return false;
  const unsigned number = index - kMsrX2apicFirst;
  switch (number) {
    case kApr:
    case kEoi:
    case kDfr:
    case kIcrHigh:
    case kSelfIpi:
      return false;
    case kIcrLow:
      value = icr_;
      return true;
    default:
      break;
  }
  const bool exists = number == kId || number == kVersion || number == kTpr || number == kPpr ||
                      (number >= kLdr && number <= kEsr) ||
                      (number >= kLvtTimer && number <= kCurrentCount) || number == kDivide;
  if (!exists) return false;
  value = read_register(number);
  return true;
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value) {
  if (index == kMsrApicBase) return write_base(value);
  if (index == kMsrTscDeadline) {
    const std::uint64_t now_ns = clock_.now().ns;
    settle_timer(now_ns);
    if (timer_mode() != TimerMode::tsc_deadline) return true;  // ignored
    tsc_deadline_ = value;
    arm_deadline(now_ns);
    settle_timer(now_ns);
    changed();
    return true;
  }
  if (index < kMsrX2apicFirst || index > kMsrX2apicLast || !x2apic()) return false;
  return write_x2apic(index - kMsrX2apicFirst, value);
}

bool LocalApic::write_base(std::uint64_t value) {
  const std::uint64_t defined =
      kApicBaseBsp | kBaseModes | (physical_mask_ & ~std::uint64_t{0xfff});
  if ((value & ~defined) != 0) return false;
  const std::uint64_t from = base_ & kBaseModes;
  const std::uint64_t to = value & kBaseModes;
  if (to == kApicBaseX2apic) return false;
  if (from == kBaseModes && to == kApicBaseEnable) return false;
  if (from == 0 && to == kBaseModes) return false;
  // SDM "Disabling the Local APIC": it comes back as after reset.
  if (from != 0 && to == 0) reset_registers();
  base_ = value;
  place_page();
  changed();
  return true;
}

bool LocalApic::write_x2apic(unsigned index, std::uint64_t value) {
  if (index == kIcrLow) {
    if ((value & 0xfff33000) != 0) return false;
    icr_ = value;
    send_ipi();
    changed();
    return true;
  }
  if ((value >> 32) != 0) return false;
  const auto low = static_cast<std::uint32_t>(value);
  std::uint32_t allowed = 0;
  switch (index) {
    case kTpr:
    case kSelfIpi:
      allowed = 0xff;
      break;
    case kEoi:
    case kEsr:
      break;
    case kSvr:
      allowed = kSvrWritable;
      break;
    case kInitialCount:
      allowed = 0xffffffff;
      break;
    case kDivide:
      allowed = 0xb;
      break;
    default:
      if (index < kLvtTimer || index > kLvtError) return false;
      allowed = kLvtWritable[index - kLvtTimer] | kLvtReadOnly[index - kLvtTimer];
      break;
  }
  if ((low & ~allowed) != 0) return false;
  if (index == kSelfIpi) {
    if (low < 16) {
      raise_error(kErrorSendVector | kErrorReceiveVector);
    } else if (software_enabled()) {
      accept(static_cast<std::uint8_t>(low), ApicTrigger::edge);
    }
    changed();
    return true;
  }
  write_register(index, low);
  return true;
}

std::uint32_t LocalApic::read_register(unsigned index) const {
  if (index >= kIsr && index < kIsr + 8) return isr_[index - kIsr];
  if (index >= kTmr && index < kTmr + 8) return tmr_[index - kTmr];
  if (index >= kIrr && index < kIrr + 8) return irr_[index - kIrr];
  if (index >= kLvtTimer && index <= kLvtError) return lvt_[index - kLvtTimer];
  switch (index) {
    case kId:
      return x2apic() ? id_ : std::uint32_t{xapic_id_} << 24;
    case kVersion:
      return version_register();
    case kTpr:
      return tpr_;
    case kApr:
    case kPpr:
      return processor_priority();
    case kLdr:
      return logical_id();
    case kDfr:
      return dfr_;
    case kSvr:
      return svr_;
    case kEsr:
      return esr_;
    case kIcrLow:
      return static_cast<std::uint32_t>(icr_);
    case kIcrHigh:
      return static_cast<std::uint32_t>(icr_ >> 32);
    case kInitialCount:
      return initial_count_;
    case kCurrentCount:
      return current_count(clock_.now().ns);
    case kDivide:
      return divide_;
    default:
      return 0;
  }
}

void LocalApic::write_register(unsigned index, std::uint32_t value) {
  const std::uint64_t now_ns = clock_.now().ns;
  settle_timer(now_ns);
  if (index >= kLvtTimer && index <= kLvtError) {
    write_lvt(index - kLvtTimer, value);
    changed();
    return;
  }
  switch (index) {
    case kId:
      xapic_id_ = static_cast<std::uint8_t>(value >> 24);
      break;
    case kTpr:
      tpr_ = value & 0xff;
      break;
    case kEoi:
      end_of_interrupt();
      break;
    case kLdr:
      ldr_ = value & 0xff000000;
      break;
    case kDfr:
      dfr_ = value | 0x0fffffff;
      break;
    case kSvr:
      write_spurious(value);
      break;
    case kEsr:
      esr_ = errors_;
      errors_ = 0;
      break;
    case kIcrLow:
      icr_ = (icr_ & 0xffffffff00000000) | (value & 0x000ccfff);
      send_ipi();
      break;
    case kIcrHigh:
      icr_ = (icr_ & 0xffffffff) | (std::uint64_t{value & 0xff000000} << 32);
      break;
    case kInitialCount:
      if (timer_mode() == TimerMode::tsc_deadline) break;  // ignored in this mode
      initial_count_ = value;
      arm_count(now_ns, value);
      break;
    case kDivide: {
      const std::uint32_t count = current_count(now_ns);
      divide_ = value & 0xb;
      if (timer_mode() != TimerMode::tsc_deadline) arm_count(now_ns, count);
      break;
    }
    default:
      if (index < 0x40 && index != kVersion) break;  // read-only
      raise_error(kErrorRegister);
      break;
  }
  changed();
}

void LocalApic::write_lvt(unsigned index, std::uint32_t value) {
  std::uint32_t& entry = lvt_[index];
  std::uint32_t next = value & kLvtWritable[index];
  if (!software_enabled()) next |= kLvtMasked;
  if (index == kTimer) {
    const TimerMode before = timer_mode();
    entry = next;
    const TimerMode after = timer_mode();
    const bool was_deadline = before == TimerMode::tsc_deadline;
    if (was_deadline != (after == TimerMode::tsc_deadline)) {
      // Entering or leaving TSC-deadline mode disarms the timer.
      initial_count_ = 0;
      tsc_deadline_ = 0;
      expiry_ns_ = kNever;
    }
    return;
  }
  // Remote IRR belongs to a level-triggered fixed interrupt and to nothing else.
  const bool level = (next & (0x700 | kLvtLevel)) == kLvtLevel;
  entry = next | (level ? entry & kLvtRemoteIrr : 0);
  if (index == kLint0 || index == kLint1) send_level_lint(index);
}

void LocalApic::write_spurious(std::uint32_t value) {
  svr_ = value & kSvrWritable;
  if (software_enabled()) return;
  for (std::uint32_t& entry : lvt_) entry |= kLvtMasked;
}

LocalApic::TimerMode LocalApic::timer_mode() const {
  return static_cast<TimerMode>((lvt_[kTimer] >> 17) & 3);
}

std::uint64_t LocalApic::divisor() const {
  const std::uint32_t code = (divide_ & 3) | ((divide_ >> 1) & 4);
  return code == 7 ? 1 : std::uint64_t{2} << code;
}

std::uint32_t LocalApic::current_count(std::uint64_t now_ns) const {
  if (timer_mode() == TimerMode::tsc_deadline || expiry_ns_ == kNever) return 0;
  std::uint64_t expiry = expiry_ns_;
  if (now_ns >= expiry) {
    if (timer_mode() != TimerMode::periodic || initial_count_ == 0) return 0;
    const std::uint64_t period = initial_count_ * divisor();
    expiry += ((now_ns - expiry) / period + 1) * period;
  }
  return static_cast<std::uint32_t>((expiry - now_ns + divisor() - 1) / divisor());
}

void LocalApic::arm_count(std::uint64_t now_ns, std::uint32_t count) {
  expiry_ns_ = count == 0 ? kNever : saturating_add(now_ns, count * divisor());
}

void LocalApic::arm_deadline(std::uint64_t now_ns) {
  if (tsc_deadline_ == 0) {
    expiry_ns_ = kNever;
    return;
  }
  const std::uint64_t tsc = now_ns + tsc_offset_;
  expiry_ns_ = tsc_deadline_ <= tsc ? now_ns : saturating_add(now_ns, tsc_deadline_ - tsc);
}

void LocalApic::set_tsc_offset(std::uint64_t offset) {
  const std::uint64_t now_ns = clock_.now().ns;
  settle_timer(now_ns);
  tsc_offset_ = offset;
  if (timer_mode() == TimerMode::tsc_deadline) {
    arm_deadline(now_ns);
    settle_timer(now_ns);
  }
  changed();
}

/// Brings the timer up to `now_ns`. All the ends that were passed make one
/// interrupt, as they would in IRR.
void LocalApic::settle_timer(std::uint64_t now_ns) {
  if (expiry_ns_ == kNever || now_ns < expiry_ns_) return;
  if (timer_mode() == TimerMode::periodic && initial_count_ != 0) {
    const std::uint64_t period = initial_count_ * divisor();
    const std::uint64_t passed = (now_ns - expiry_ns_) / period + 1;
    expiry_ns_ = saturating_add(expiry_ns_, passed * period);
  } else {
    expiry_ns_ = kNever;
    tsc_deadline_ = 0;
  }
  deliver_local(kTimer, ApicTrigger::edge);
  changed();
}

std::uint64_t LocalApic::next_deadline_ns() const {
  return (lvt_[kTimer] & kLvtMasked) != 0 ? kNever : expiry_ns_;
}

void LocalApic::advance(VirtualTime now) {
  if (now.ns >= next_deadline_ns()) settle_timer(now.ns);
}

std::uint64_t LocalApic::read_mmio(std::uint64_t offset, unsigned width) {
  if (!xapic()) return width >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * width)) - 1;
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = (offset & 0xfff) + i;
    // The 12 bytes behind each register are undefined in the manual; zero here.
    const bool in_register = (at & 0xf) < 4;
    const std::uint64_t byte =
        in_register ? (read_register(static_cast<unsigned>(at >> 4)) >> (8 * (at & 3))) & 0xff : 0;
    value |= byte << (8 * i);
  }
  return value;
}

void LocalApic::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  if (!xapic() || width < 4 || (offset & 0xf) != 0) return;
  write_register(static_cast<unsigned>((offset & 0xfff) >> 4), static_cast<std::uint32_t>(value));
}

bool LocalApic::external_is_nmi() const {
  const std::uint32_t entry = lvt_[kLint0];
  return (entry & (1U << 16)) == 0 &&
         ((entry >> 8) & 7) == static_cast<unsigned>(ApicDeliveryMode::nmi);
}

}  // namespace chronovisor
