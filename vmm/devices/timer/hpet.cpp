#include "vmm/devices/timer/hpet.h"

#include <algorithm>
#include <string>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kBase = 0xfed00000;
constexpr std::uint64_t kBytes = 0x400;
constexpr std::uint64_t kFemtosecondsPerNs = 1'000'000;
constexpr std::uint64_t kVendor = 0x8086;
constexpr std::uint64_t kWideCounter = 1U << 13;

constexpr std::uint64_t kEnabled = 1U << 2;  // of a timer
constexpr std::uint64_t kPeriodic = 1U << 3;
constexpr std::uint64_t kPeriodicCapable = 1U << 4;
constexpr std::uint64_t kWide = 1U << 5;
constexpr std::uint64_t kSetsValue = 1U << 6;
constexpr std::uint64_t kNarrowed = 1U << 8;
constexpr std::uint64_t kMessages = 1U << 14;
constexpr std::uint64_t kMessageCapable = 1U << 15;
constexpr std::uint64_t kConfigWritable = kEnabled | kPeriodic | kNarrowed | kMessages | 1U << 1;
constexpr std::uint64_t kLow = 0xffffffff;

}  // namespace

void Hpet::declare(Declaration& declaration) {
  declaration.firmware().hpet_base =
      static_cast<std::uint32_t>(declaration.memory(kBase, kBytes, *this));
  declaration.deadlines();
}

void Hpet::reset() {
  config_ = status_ = base_ = from_ns_ = 0;
  timers_ = {};
  for (Timer& timer : timers_) {
    timer.config = kPeriodicCapable | kWide | kMessageCapable;
    timer.comparator = ~std::uint64_t{0};
  }
}

void Hpet::visit_state(StateVisitor& visitor) {
  visitor.field("config", config_);
  visitor.field("status", status_);
  visitor.field("base", base_);
  visitor.field("from_ns", from_ns_);
  for (unsigned n = 0; n < kTimers; ++n) {
    Timer& timer = timers_[n];
    const std::string prefix = "timer" + std::to_string(n) + ".";
    visitor.field(prefix + "config", timer.config);
    visitor.field(prefix + "comparator", timer.comparator);
    visitor.field(prefix + "period", timer.period);
    visitor.field(prefix + "message", timer.message);
    visitor.field(prefix + "due_ns", timer.due_ns);
  }
}

std::uint64_t Hpet::counter() const {
  return runs() ? base_ + (clock_.now().ns - from_ns_) / kNsPerTick : base_;
}

void Hpet::set_counter(std::uint64_t value) {
  base_ = value;
  from_ns_ = clock_.now().ns;
  for (Timer& timer : timers_) arm(timer);
}

/// When the counter next has the comparator's value, after now.
void Hpet::arm(Timer& timer) {
  timer.due_ns = kNever;
  if (!runs() || (timer.config & kEnabled) == 0) return;
  const bool narrow = (timer.config & kNarrowed) != 0;
  std::uint64_t ticks = timer.comparator - counter();
  if (narrow) ticks &= kLow;
  if (ticks == 0) ticks = narrow ? kLow + 1 : kNever;
  if (ticks > (kNever - clock_.now().ns) / kNsPerTick - 1) return;  // beyond the end of time
  const std::uint64_t since = clock_.now().ns - from_ns_;
  timer.due_ns = from_ns_ + (since / kNsPerTick + ticks) * kNsPerTick;
}

std::uint64_t Hpet::next_deadline_ns() const {
  std::uint64_t next = kNever;
  for (const Timer& timer : timers_) next = std::min(next, timer.due_ns);
  return next;
}

void Hpet::advance(VirtualTime now) {
  for (Timer& timer : timers_) {
    if (timer.due_ns > now.ns) continue;
    if ((timer.config & kMessages) != 0) {
      messages_.send_message_interrupt(timer.message >> 32,
                                       static_cast<std::uint32_t>(timer.message));
    }
    if ((timer.config & kPeriodic) != 0 && timer.period != 0) {
      // As many periods as have gone by are one message.
      const std::uint64_t gone = counter() - timer.comparator;
      timer.comparator += (gone / timer.period + 1) * timer.period;
    }
    arm(timer);
  }
  deadline_changed();
}

std::uint64_t Hpet::read_register(std::uint64_t offset) const {
  switch (offset) {
    case 0x000:
      return kNsPerTick * kFemtosecondsPerNs << 32 | kVendor << 16 | kWideCounter |
             std::uint64_t{kTimers - 1} << 8 | 1;
    case 0x010:
      return config_;
    case 0x020:
      return status_;
    case 0x0f0:
      return counter();
    default:
      break;
  }
  if (offset < 0x100 || offset >= 0x100 + std::uint64_t{kTimers} * 0x20) return 0;
  const Timer& timer = timers_[(offset - 0x100) / 0x20];
  switch (offset & 0x18) {
    case 0x00:
      return timer.config;
    case 0x08:
      return timer.comparator;
    case 0x10:
      return timer.message;
    default:
      return 0;
  }
}

std::uint64_t Hpet::read_mmio(std::uint64_t offset, unsigned width) {
  const std::uint64_t value = read_register(offset & ~std::uint64_t{7}) >> (8 * (offset & 7));
  return width >= 8 ? value : value & ((std::uint64_t{1} << (8 * width)) - 1);
}

void Hpet::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  const unsigned shift = 8 * (offset & 7);
  const std::uint64_t mask =
      (width >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * width)) - 1) << shift;
  write_register(offset & ~std::uint64_t{7}, value << shift, mask);
  deadline_changed();
}

void Hpet::write_register(std::uint64_t offset, std::uint64_t value, std::uint64_t mask) {
  const std::uint64_t whole = (read_register(offset) & ~mask) | (value & mask);
  switch (offset) {
    case 0x010: {
      const std::uint64_t here = counter();
      config_ = whole & 1;
      set_counter(here);
      return;
    }
    case 0x020:
      status_ &= ~(value & mask);
      return;
    case 0x0f0:
      set_counter(whole);
      return;
    default:
      break;
  }
  if (offset < 0x100 || offset >= 0x100 + std::uint64_t{kTimers} * 0x20) return;
  write_timer(timers_[(offset - 0x100) / 0x20], offset & 0x18, whole);
}

void Hpet::write_timer(Timer& timer, std::uint64_t offset, std::uint64_t value) {
  switch (offset) {
    case 0x00: {
      const bool sets = (value & kSetsValue) != 0;
      timer.config = (timer.config & ~(kConfigWritable | kSetsValue)) | (value & kConfigWritable) |
                     (sets ? kSetsValue : 0);
      break;
    }
    case 0x08:
      // A periodic timer's first value is said to be one; what comes then is the period.
      if ((timer.config & kPeriodic) == 0 || (timer.config & kSetsValue) != 0) {
        timer.comparator = value;
      }
      timer.config &= ~kSetsValue;
      timer.period = (timer.config & kNarrowed) != 0 ? value & kLow : value;
      break;
    case 0x10:
      timer.message = value;
      break;
    default:
      return;
  }
  arm(timer);
}

}  // namespace chronovisor
