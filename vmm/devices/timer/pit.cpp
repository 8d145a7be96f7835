#include "vmm/devices/timer/pit.h"

#include <algorithm>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr unsigned kSpeaker = 2;
constexpr std::uint64_t kRefreshTicks = 18;  // what a BIOS programs counter 1 with

/// Modes 2 and 3 cannot count 1; the data sheet calls it illegal, we count 2.
constexpr std::uint64_t period_of(std::uint32_t count) { return std::max<std::uint64_t>(count, 2); }

constexpr std::uint32_t from_bcd(std::uint16_t value) {
  return (value & 15U) + 10 * ((value >> 4) & 15U) + 100 * ((value >> 8) & 15U) +
         1000 * ((value >> 12) & 15U);
}

constexpr std::uint16_t to_bcd(std::uint32_t value) {
  return static_cast<std::uint16_t>((value % 10) | ((value / 10 % 10) << 4) |
                                    ((value / 100 % 10) << 8) | ((value / 1000 % 10) << 12));
}

}  // namespace

std::uint64_t Pit::Segment::first_rise_after(unsigned mode, std::uint64_t tick) const {
  if (mode == 2 || mode == 3) {
    const std::uint64_t period = period_of(count);
    const std::uint64_t origin = starts_low ? start_tick + period / 2 : start_tick + period;
    if (tick < origin) return origin;
    return origin + ((tick - origin) / period + 1) * period;
  }
  // One-shot: OUT rises at the terminal count (0, 1) or after the strobe (4, 5).
  const std::uint64_t rise = start_tick + count + (mode >= 4 ? 1 : 0);
  return tick < rise ? rise : kNever;
}

bool Pit::Segment::out(unsigned mode, std::uint64_t elapsed) const {
  const std::uint64_t period = period_of(count);
  switch (mode) {
    case 0:
    case 1:
      return elapsed >= count;
    case 2:
      return elapsed % period != period - 1;
    case 3: {
      const std::uint64_t phase = elapsed % period;
      return starts_low ? phase >= period / 2 : phase < (period + 1) / 2;
    }
    default:
      return elapsed != count;
  }
}

std::uint32_t Pit::Segment::value(unsigned mode, std::uint64_t elapsed, bool bcd) const {
  const std::uint64_t period = period_of(count);
  if (mode == 2) return static_cast<std::uint32_t>(period - elapsed % period);
  if (mode == 3) {
    const std::uint64_t phase = elapsed % period;
    const std::uint64_t first_half = starts_low ? period / 2 : (period + 1) / 2;
    const std::uint64_t within = phase < first_half ? phase : phase - first_half;
    return static_cast<std::uint32_t>((period & ~std::uint64_t{1}) - 2 * within);
  }
  const std::uint64_t modulus = bcd ? 10000 : 65536;
  return static_cast<std::uint32_t>((count + modulus - elapsed % modulus) % modulus);
}

void Pit::Counter::visit(StateVisitor& visitor, const std::string& prefix) {
  visitor.field(prefix + "mode", mode);
  visitor.field(prefix + "access", access);
  visitor.field(prefix + "bcd", bcd);
  visitor.field(prefix + "write_low", write_low);
  visitor.field(prefix + "write_high_next", write_high_next);
  visitor.field(prefix + "read_high_next", read_high_next);
  visitor.field(prefix + "count_latched", count_latched);
  visitor.field(prefix + "latched_count", latched_count);
  visitor.field(prefix + "status_latched", status_latched);
  visitor.field(prefix + "latched_status", latched_status);
  visitor.field(prefix + "reload", reload);
  visitor.field(prefix + "count_written", count_written);
  visitor.field(prefix + "counting", counting);
  visitor.field(prefix + "gate", gate);
  visitor.field(prefix + "frozen", frozen);
  visitor.field(prefix + "frozen_elapsed", frozen_elapsed);
  visitor.field(prefix + "segment.start_tick", segment.start_tick);
  visitor.field(prefix + "segment.count", segment.count);
  visitor.field(prefix + "segment.starts_low", segment.starts_low);
  visitor.field(prefix + "has_next", has_next);
  visitor.field(prefix + "next.start_tick", next.start_tick);
  visitor.field(prefix + "next.count", next.count);
  visitor.field(prefix + "next.starts_low", next.starts_low);
}

std::uint32_t Pit::Counter::full_count() const {
  const std::uint32_t count = bcd ? from_bcd(reload) : reload;
  if (count != 0) return count;
  return bcd ? 10000 : 65536;
}

const Pit::Segment& Pit::Counter::segment_at(std::uint64_t tick) const {
  return has_next && tick >= next.start_tick ? next : segment;
}

std::uint64_t Pit::Counter::elapsed_at(std::uint64_t tick) const {
  if (frozen) return frozen_elapsed;
  const Segment& at = segment_at(tick);
  return tick < at.start_tick ? 0 : tick - at.start_tick;
}

bool Pit::Counter::out(std::uint64_t tick) const {
  if (!counting) return mode != 0;
  if (frozen && (mode == 2 || mode == 3)) return true;
  const Segment& at = segment_at(tick);
  if (!frozen && tick < at.start_tick && mode == 1) return true;
  return at.out(mode, elapsed_at(tick));
}

bool Pit::Counter::null_count(std::uint64_t tick) const {
  if (!count_written) return true;
  if (has_next) return tick < next.start_tick;
  if (!counting) return true;
  return !frozen && tick < segment.start_tick;
}

std::uint16_t Pit::Counter::value(std::uint64_t tick) const {
  const std::uint32_t binary =
      counting ? segment_at(tick).value(mode, elapsed_at(tick), bcd) : full_count();
  return bcd ? to_bcd(binary) : static_cast<std::uint16_t>(binary);
}

std::uint8_t Pit::Counter::status(std::uint64_t tick) const {
  return static_cast<std::uint8_t>((out(tick) ? 0x80 : 0) | (null_count(tick) ? 0x40 : 0) |
                                   (access << 4) | (mode << 1) | (bcd ? 1 : 0));
}

std::uint64_t Pit::Counter::first_rise_after(std::uint64_t tick) const {
  if (!counting || frozen) return kNever;
  if (!has_next) return segment.first_rise_after(mode, tick);
  const std::uint64_t rise = segment.first_rise_after(mode, tick);
  // The old count's last edge may be the very tick at which the new one is loaded.
  if (tick < next.start_tick && rise <= next.start_tick) return rise;
  return next.first_rise_after(mode, std::max(tick, next.start_tick));
}

void Pit::Counter::adopt_next(std::uint64_t tick) {
  if (!has_next || tick < next.start_tick) return;
  segment = next;
  has_next = false;
  next = Segment{};
}

void Pit::Counter::load(std::uint64_t tick) {
  segment = Segment{tick + 1, full_count(), false};
  counting = true;
  has_next = false;
  next = Segment{};
  frozen = !gate;
  frozen_elapsed = 0;
}

void Pit::Counter::set_mode(std::uint8_t control) {
  const bool gate_level = gate;
  *this = Counter{};
  gate = gate_level;
  access = (control >> 4) & 3;
  mode = (control >> 1) & 7;
  if (mode > 5) mode &= 3;
  bcd = (control & 1) != 0;
}

void Pit::Counter::write(std::uint64_t tick, std::uint8_t byte) {
  adopt_next(tick);
  if (access == 1) {
    set_count(tick, byte);
  } else if (access == 2) {
    set_count(tick, static_cast<std::uint16_t>(byte << 8));
  } else if (!write_high_next) {
    write_low = byte;
    write_high_next = true;
    // In mode 0 the first byte stops the count and takes OUT low.
    if (mode == 0) counting = false;
  } else {
    write_high_next = false;
    set_count(tick, static_cast<std::uint16_t>(write_low | (byte << 8)));
  }
}

void Pit::Counter::set_count(std::uint64_t tick, std::uint16_t value_written) {
  reload = value_written;
  count_written = true;
  if (mode == 1 || mode == 5) return;  // waits for the gate
  if (!counting || mode == 0 || mode == 4) {
    load(tick);
    return;
  }
  if (frozen) return;  // modes 2 and 3 reload when the gate rises
  if (tick < segment.start_tick) {
    load(tick);
    return;
  }
  // Modes 2 and 3 finish the current period (3: half cycle) with the old count.
  const std::uint64_t period = period_of(segment.count);
  const std::uint64_t elapsed = tick - segment.start_tick;
  const std::uint64_t phase = elapsed % period;
  std::uint64_t remaining = period - phase;
  bool low = false;
  if (mode == 3) {
    const std::uint64_t first_half = segment.starts_low ? period / 2 : (period + 1) / 2;
    if (phase < first_half) remaining = first_half - phase;
    low = segment.out(mode, elapsed);
  }
  next = Segment{tick + remaining, full_count(), low};
  has_next = true;
}

void Pit::Counter::set_gate(std::uint64_t tick, bool level) {
  if (level == gate) return;
  adopt_next(tick);
  if (!level) {
    gate = false;
    if (mode == 1 || mode == 5 || !counting) return;
    frozen_elapsed = elapsed_at(tick);
    frozen = true;
    has_next = false;
    next = Segment{};
    return;
  }
  gate = true;
  if (mode == 0 || mode == 4) {
    if (!frozen) return;
    frozen = false;
    segment.start_tick = tick + 1 - std::min(frozen_elapsed, tick + 1);
    frozen_elapsed = 0;
  } else if (count_written) {
    load(tick);
  }
}

void Pit::Counter::latch_count(std::uint64_t tick) {
  if (count_latched) return;
  count_latched = true;
  latched_count = value(tick);
}

std::uint8_t Pit::Counter::read(std::uint64_t tick) {
  if (status_latched) {
    status_latched = false;
    return latched_status;
  }
  const std::uint16_t whole = count_latched ? latched_count : value(tick);
  if (access == 3 && !read_high_next) {
    read_high_next = true;
    return static_cast<std::uint8_t>(whole);
  }
  const bool high = access != 1;
  read_high_next = false;
  count_latched = false;
  return static_cast<std::uint8_t>(high ? whole >> 8 : whole);
}

Pit::Pit(const Clock& clock) : clock_(clock) { counters_[kSpeaker].gate = false; }

void Pit::declare(Declaration& declaration) {
  const std::uint16_t base = declaration.ports(0x40, 4, *this);
  declaration.ports(0x61, 1, *this, 4);
  const std::uint8_t irq = declaration.interrupt(irq_, 0, Trigger::edge);
  declaration.deadlines();
  declaration.acpi_device(
      "TIMR",
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0100")),
                     aml::name("_CRS", aml::resources({aml::io_ports(base, 4), aml::irq(irq)}))}));
}

void Pit::reset() {
  counters_ = {};
  counters_[kSpeaker].gate = false;
  control_b_ = 0;
  delivered_tick_ = kPitRate.ticks_at(clock_.now().ns);
  drive(false);
}

void Pit::visit_state(StateVisitor& visitor) {
  counters_[0].visit(visitor, "counter0.");
  counters_[1].visit(visitor, "counter1.");
  counters_[2].visit(visitor, "counter2.");
  visitor.field("control_b", control_b_);
  irq_.visit_state(visitor, "level");
  visitor.field("delivered_tick", delivered_tick_);
}

std::uint64_t Pit::next_deadline_ns() const {
  return kPitRate.first_ns_of(counters_[0].first_rise_after(delivered_tick_));
}

void Pit::advance(VirtualTime now) {
  if (now.ns < next_deadline_ns()) return;
  deadline_changed();
  const std::uint64_t tick = kPitRate.ticks_at(now.ns);
  delivered_tick_ = tick;
  counters_[0].adopt_next(tick);
  drive(false);
  drive(true);
}

void Pit::drive(bool level) { irq_.set(level); }

/// After a write to counter 0: the line is what OUT is now, except that the low
/// part of a period (modes 2 to 5) is not shown.
void Pit::follow_output(std::uint64_t tick) {
  const Counter& counter = counters_[0];
  delivered_tick_ = tick;
  if (counter.mode == 0) {
    drive(counter.out(tick));
  } else {
    drive(true);
  }
}

std::uint8_t Pit::read_byte(std::uint16_t offset) {
  const std::uint64_t tick = kPitRate.ticks_at(clock_.now().ns);
  if (offset < 3) return counters_[offset].read(tick);
  if (offset == 4) {
    const bool refresh = ((tick / kRefreshTicks) & 1) != 0;
    const bool out2 = counters_[kSpeaker].out(tick);
    return static_cast<std::uint8_t>(control_b_ | (refresh ? 0x10 : 0) | (out2 ? 0x20 : 0));
  }
  return 0xff;  // the control word register cannot be read
}

void Pit::write_byte(std::uint16_t offset, std::uint8_t value) {
  deadline_changed();
  const VirtualTime now = clock_.now();
  const std::uint64_t tick = kPitRate.ticks_at(now.ns);
  advance(now);
  if (offset < 3) {
    counters_[offset].write(tick, value);
    if (offset == 0) follow_output(tick);
  } else if (offset == 3) {
    write_control(tick, value);
  } else if (offset == 4) {
    control_b_ = value & 0x0f;
    counters_[kSpeaker].set_gate(tick, (value & 1) != 0);
  }
}

void Pit::write_control(std::uint64_t tick, std::uint8_t value) {
  const unsigned select = value >> 6;
  if (select == 3) {  // read-back command
    for (unsigned i = 0; i < 3; ++i) {
      if ((value & (2U << i)) == 0) continue;
      Counter& counter = counters_[i];
      if ((value & 0x20) == 0) counter.latch_count(tick);
      if ((value & 0x10) == 0 && !counter.status_latched) {
        counter.status_latched = true;
        counter.latched_status = counter.status(tick);
      }
    }
    return;
  }
  if ((value & 0x30) == 0) {
    counters_[select].latch_count(tick);
    return;
  }
  counters_[select].set_mode(value);
  if (select == 0) follow_output(tick);
}

}  // namespace chronovisor
