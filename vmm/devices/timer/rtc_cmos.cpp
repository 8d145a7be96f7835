#include "vmm/devices/timer/rtc_cmos.h"

#include <algorithm>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr unsigned kSeconds = 0x00;
constexpr unsigned kSecondsAlarm = 0x01;
constexpr unsigned kMinutes = 0x02;
constexpr unsigned kMinutesAlarm = 0x03;
constexpr unsigned kHours = 0x04;
constexpr unsigned kHoursAlarm = 0x05;
constexpr unsigned kWeekday = 0x06;
constexpr unsigned kDay = 0x07;
constexpr unsigned kMonth = 0x08;
constexpr unsigned kYear = 0x09;
constexpr unsigned kA = 0x0a;
constexpr unsigned kB = 0x0b;
constexpr unsigned kC = 0x0c;
constexpr unsigned kD = 0x0d;
constexpr unsigned kCentury = 0x32;

constexpr std::uint8_t kBSet = 0x80;
constexpr std::uint8_t kBBinary = 0x04;
constexpr std::uint8_t kB24Hours = 0x02;
constexpr std::uint8_t kPeriodic = 0x40;  // in B: enable, in C: flag
constexpr std::uint8_t kAlarm = 0x20;
constexpr std::uint8_t kUpdate = 0x10;
constexpr std::uint8_t kCRequest = 0x80;

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kUpdateNs = 244'000 + 1'984'000;  // t_BUC + t_UC
constexpr std::int64_t kSecondsADay = 86'400;
/// Bounds that no real date or run reaches: 34 thousand and 146 years.
constexpr std::int64_t kMostSeconds = std::int64_t{1} << 40;
constexpr std::int64_t kMostNs = std::int64_t{1} << 62;
/// 32768 Hz.
constexpr TickRate kCrystal{64, 1'953'125};

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0 ? 1 : 0);
}

struct Date {
  std::int64_t year;
  unsigned month;  // 1-12
  unsigned day;    // 1-31
};

/// Days since 1970-01-01 in the proleptic Gregorian calendar; a year starts in
/// March here so that the leap day comes last.
std::int64_t days_of(std::int64_t year, std::int64_t month, std::int64_t day) {
  const std::int64_t shifted = year * 12 + (month - 1) - 2;
  const std::int64_t y = floor_div(shifted, 12);
  const std::int64_t m = shifted - 12 * y;  // 0 = March
  const std::int64_t leap_days = floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
  constexpr std::int64_t kMarch0ToUnix = 719'468;
  return 365 * y + leap_days + (153 * m + 2) / 5 + (day - 1) - kMarch0ToUnix;
}

Date date_of(std::int64_t days) {
  // An estimate from the mean year, corrected by at most one step either way.
  std::int64_t year = 1970 + floor_div(days * 400, 146'097);
  while (days_of(year + 1, 1, 1) <= days) ++year;
  while (days_of(year, 1, 1) > days) --year;
  unsigned month = 1;
  while (month < 12 && days_of(year, month + 1, 1) <= days) ++month;
  return {year, month, static_cast<unsigned>(days - days_of(year, month, 1) + 1)};
}

/// 0 = Sunday.
unsigned weekday_of(std::int64_t days) {
  const std::int64_t shifted = days + 4;
  return static_cast<unsigned>(shifted - 7 * floor_div(shifted, 7));
}

bool is_date_register(unsigned index) {
  return index == kSeconds || index == kMinutes || index == kHours ||
         (index >= kWeekday && index <= kYear) || index == kCentury;
}

bool any_value(std::uint8_t alarm) { return (alarm & 0xc0) == 0xc0; }

}  // namespace

RtcCmos::RtcCmos(const Clock& clock, Memory memory, std::int64_t start_unix_seconds)
    : clock_(clock), origin_seconds_(std::clamp(start_unix_seconds, -kMostSeconds, kMostSeconds)) {
  cmos_[kA] = 0x26;  // 32768 Hz, periodic 1024 Hz
  cmos_[kB] = kB24Hours;
  cmos_[kD] = 0x80;  // battery good
  fill_memory_sizes(memory);
}

void RtcCmos::fill_memory_sizes(Memory memory) {
  const auto put16 = [this](unsigned index, std::uint64_t value) {
    cmos_[index] = static_cast<std::uint8_t>(value);
    cmos_[index + 1] = static_cast<std::uint8_t>(value >> 8);
  };
  const auto beyond = [&](std::uint64_t start) {
    return memory.below_4g_bytes > start ? memory.below_4g_bytes - start : 0;
  };
  constexpr std::uint64_t kMost = 0xffff;
  const std::uint64_t extended_kb = std::min(beyond(1U << 20) >> 10, kMost);
  put16(0x15, std::min<std::uint64_t>(memory.below_4g_bytes >> 10, 640));
  put16(0x17, extended_kb);
  put16(0x30, extended_kb);
  put16(0x34, std::min(beyond(16U << 20) >> 16, kMost));
  const std::uint64_t high = std::min<std::uint64_t>(memory.above_4g_bytes >> 16, 0xffffff);
  put16(0x5b, high);
  cmos_[0x5d] = static_cast<std::uint8_t>(high >> 16);
  cmos_[0x14] = 0x02;  // equipment: coprocessor
  cmos_[0x10] = memory.floppy_drives;
  if ((memory.floppy_drives & 0xf0) != 0) cmos_[0x14] |= 0x01;
  if ((memory.floppy_drives & 0x0f) != 0) cmos_[0x14] |= 0x40;
  unsigned sum = 0;
  for (unsigned i = 0x10; i <= 0x2d; ++i) sum += cmos_[i];
  cmos_[0x2e] = static_cast<std::uint8_t>(sum >> 8);
  cmos_[0x2f] = static_cast<std::uint8_t>(sum);
}

void RtcCmos::declare(Declaration& declaration) {
  const std::uint16_t base = declaration.ports(0x70, 2, *this);
  const std::uint8_t irq = declaration.interrupt(irq_, 8, Trigger::edge);
  declaration.deadlines();
  declaration.firmware().fixed.rtc_century_register = kCentury;
  declaration.acpi_device(
      "RTC0",
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0B00")),
                     aml::name("_CRS", aml::resources({aml::io_ports(base, 2), aml::irq(irq)}))}));
}

void RtcCmos::reset() {
  index_ = 0;
  cmos_[kB] &= static_cast<std::uint8_t>(~(kPeriodic | kAlarm | kUpdate | 0x08));
  cmos_[kC] = 0;
  settled_ns_ = clock_.now().ns;
  update_line();
}

void RtcCmos::visit_state(StateVisitor& visitor) {
  visitor.field("index", index_);
  visitor.field("cmos", cmos_);
  visitor.field("divider_origin_ns", divider_origin_ns_);
  visitor.field("origin_seconds", origin_seconds_);
  visitor.field("weekday_shift", weekday_shift_);
  visitor.field("settled_ns", settled_ns_);
  irq_.visit_state(visitor, "level");
  // A file may say anything; the calendar must not overflow on it.
  origin_seconds_ = std::clamp(origin_seconds_, -kMostSeconds, kMostSeconds);
  divider_origin_ns_ = std::clamp<std::int64_t>(divider_origin_ns_, -kSecondNs, kMostNs);
  settled_ns_ = std::min(settled_ns_, static_cast<std::uint64_t>(kMostNs));
}

bool RtcCmos::divider_held() const { return (cmos_[kA] & 0x60) == 0x60; }
bool RtcCmos::held() const { return (cmos_[kB] & kBSet) != 0 || divider_held(); }

std::int64_t RtcCmos::seconds_at(std::uint64_t now_ns) const {
  const std::int64_t since = static_cast<std::int64_t>(now_ns) - divider_origin_ns_;
  return origin_seconds_ + floor_div(since, kSecondNs);
}

bool RtcCmos::updating_at(std::uint64_t now_ns) const {
  const std::int64_t since = static_cast<std::int64_t>(now_ns) - divider_origin_ns_;
  return since - kSecondNs * floor_div(since, kSecondNs) >= kSecondNs - kUpdateNs;
}

std::uint64_t RtcCmos::next_update_ns(std::uint64_t after_ns) const {
  if (held()) return kNever;
  const std::int64_t since = static_cast<std::int64_t>(after_ns) - divider_origin_ns_;
  return static_cast<std::uint64_t>(divider_origin_ns_ +
                                    kSecondNs * (floor_div(since, kSecondNs) + 1));
}

/// The first second boundary after `after_ns` whose time of day matches.
std::uint64_t RtcCmos::next_alarm_ns(std::uint64_t after_ns) const {
  if (held()) return kNever;
  const std::int64_t first = seconds_at(after_ns) + 1;
  const std::int64_t day_start = floor_div(first, kSecondsADay) * kSecondsADay;
  const auto of_day = static_cast<unsigned>(first - day_start);
  const auto matches_hour = [this](unsigned hour) {
    return any_value(cmos_[kHoursAlarm]) || decode_hour(cmos_[kHoursAlarm]) == hour;
  };
  // The value to try for a field that may not go below `least`; 60 if none.
  const auto first_match = [this](unsigned index, unsigned least) -> unsigned {
    if (any_value(cmos_[index])) return least;
    const unsigned wanted = decode(cmos_[index]);
    return wanted >= least && wanted < 60 ? wanted : 60;
  };
  for (unsigned day_hour = of_day / 3600; day_hour <= of_day / 3600 + 24; ++day_hour) {
    if (!matches_hour(day_hour % 24)) continue;
    const bool now_hour = day_hour == of_day / 3600;
    const unsigned least_minute = now_hour ? of_day / 60 % 60 : 0;
    unsigned minute = first_match(kMinutesAlarm, least_minute);
    if (minute >= 60) continue;
    const bool now_minute = now_hour && minute == least_minute;
    unsigned second = first_match(kSecondsAlarm, now_minute ? of_day % 60 : 0);
    if (second >= 60 && now_minute) {
      minute = first_match(kMinutesAlarm, minute + 1);
      second = first_match(kSecondsAlarm, 0);
    }
    if (minute >= 60 || second >= 60) continue;
    const std::int64_t at = day_start + day_hour * 3600 + minute * 60 + second;
    return static_cast<std::uint64_t>(divider_origin_ns_ + kSecondNs * (at - origin_seconds_));
  }
  return kNever;
}

std::uint64_t RtcCmos::next_periodic_ns(std::uint64_t after_ns) const {
  const unsigned rate = cmos_[kA] & 0x0f;
  if (rate == 0 || divider_held()) return kNever;
  const std::uint64_t period = rate <= 2 ? 64U << rate : 1U << (rate - 1);
  // The origin may lie up to half a second before power-on; whole seconds of
  // the crystal are whole periods, so one second more keeps the grid.
  const auto lead = static_cast<std::uint64_t>(kSecondNs - divider_origin_ns_ % kSecondNs) %
                    static_cast<std::uint64_t>(kSecondNs);
  const std::uint64_t tick = kCrystal.ticks_at(saturating_add(after_ns, lead));
  const std::uint64_t next = kCrystal.first_ns_of((tick / period + 1) * period);
  return next == kNever ? kNever : next - lead;
}

std::uint64_t RtcCmos::next_deadline_ns() const {
  // With the line already up, further events only set bits of register C, and
  // those are worked out when it is read.
  if (irq_.level()) return kNever;
  const std::uint8_t enabled = cmos_[kB];
  std::uint64_t deadline = kNever;
  if ((enabled & kUpdate) != 0) deadline = next_update_ns(settled_ns_);
  if ((enabled & kAlarm) != 0) deadline = std::min(deadline, next_alarm_ns(settled_ns_));
  if ((enabled & kPeriodic) != 0) deadline = std::min(deadline, next_periodic_ns(settled_ns_));
  return deadline;
}

void RtcCmos::advance(VirtualTime now) {
  if (now.ns < next_deadline_ns()) return;
  settle(now.ns);
}

void RtcCmos::settle(std::uint64_t now_ns) {
  if (next_update_ns(settled_ns_) <= now_ns) cmos_[kC] |= kUpdate;
  if (next_alarm_ns(settled_ns_) <= now_ns) cmos_[kC] |= kAlarm;
  if (next_periodic_ns(settled_ns_) <= now_ns) cmos_[kC] |= kPeriodic;
  settled_ns_ = now_ns;
  update_line();
}

void RtcCmos::update_line() {
  const bool level = (cmos_[kC] & cmos_[kB] & (kPeriodic | kAlarm | kUpdate)) != 0;
  cmos_[kC] = static_cast<std::uint8_t>((cmos_[kC] & ~kCRequest) | (level ? kCRequest : 0));
  irq_.set(level);
  deadline_changed();
}

std::uint8_t RtcCmos::encode(unsigned value) const {
  if ((cmos_[kB] & kBBinary) != 0) return static_cast<std::uint8_t>(value);
  return static_cast<std::uint8_t>(((value / 10) << 4) | (value % 10));
}

unsigned RtcCmos::decode(std::uint8_t value) const {
  if ((cmos_[kB] & kBBinary) != 0) return value;
  return (value >> 4) * 10U + (value & 15U);
}

std::uint8_t RtcCmos::encode_hour(unsigned hour) const {
  if ((cmos_[kB] & kB24Hours) != 0) return encode(hour);
  const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? 0x80 : 0));
}

unsigned RtcCmos::decode_hour(std::uint8_t value) const {
  if ((cmos_[kB] & kB24Hours) != 0) return decode(value);
  return decode(value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

/// Writes the running date into the registers.
void RtcCmos::store_date(std::uint64_t now_ns) {
  const std::int64_t seconds = seconds_at(now_ns);
  const std::int64_t days = floor_div(seconds, kSecondsADay);
  const auto of_day = static_cast<unsigned>(seconds - days * kSecondsADay);
  const Date date = date_of(days);
  const std::int64_t century = floor_div(date.year, 100);
  cmos_[kSeconds] = encode(of_day % 60);
  cmos_[kMinutes] = encode(of_day / 60 % 60);
  cmos_[kHours] = encode_hour(of_day / 3600);
  cmos_[kWeekday] = encode((weekday_of(days) + weekday_shift_) % 7 + 1);
  cmos_[kDay] = encode(date.day);
  cmos_[kMonth] = encode(date.month);
  cmos_[kYear] = encode(static_cast<unsigned>(date.year - 100 * century));
  cmos_[kCentury] = encode(static_cast<unsigned>(century));
}

/// Lets the clock run from the date in the registers.
void RtcCmos::load_date(std::uint64_t now_ns) {
  const std::int64_t year = 100 * std::int64_t{decode(cmos_[kCentury])} + decode(cmos_[kYear]);
  const std::int64_t days = days_of(year, decode(cmos_[kMonth]), decode(cmos_[kDay]));
  const std::int64_t seconds = days * kSecondsADay + 3600 * decode_hour(cmos_[kHours]) +
                               60 * decode(cmos_[kMinutes]) + decode(cmos_[kSeconds]);
  origin_seconds_ += seconds - seconds_at(now_ns);
  const std::int64_t real_days = floor_div(seconds, kSecondsADay);
  const unsigned weekday = decode(cmos_[kWeekday]) + 6;  // 1 = Sunday
  weekday_shift_ = static_cast<std::uint8_t>((weekday + 7 - weekday_of(real_days)) % 7);
}

std::uint8_t RtcCmos::read_register(unsigned index, std::uint64_t now_ns) {
  if (is_date_register(index)) {
    if (!held()) store_date(now_ns);
    return cmos_[index];
  }
  if (index == kA) {
    const bool updating = !held() && updating_at(now_ns);
    return static_cast<std::uint8_t>(cmos_[kA] | (updating ? 0x80 : 0));
  }
  if (index == kC) {
    settle(now_ns);
    const std::uint8_t flags = cmos_[kC];
    cmos_[kC] = 0;
    update_line();
    return flags;
  }
  return cmos_[index];
}

void RtcCmos::write_register(unsigned index, std::uint8_t value, std::uint64_t now_ns) {
  if (index >= kA && index <= kD) {
    write_control(index, value, now_ns);
    return;
  }
  settle(now_ns);
  if (index == kSeconds) value &= 0x7f;  // its top bit is read-only
  if (!is_date_register(index)) {
    cmos_[index] = value;
    return;
  }
  if (held()) {
    cmos_[index] = value;
    return;
  }
  store_date(now_ns);
  cmos_[index] = value;
  load_date(now_ns);
}

void RtcCmos::write_control(unsigned index, std::uint8_t value, std::uint64_t now_ns) {
  if (index != kA && index != kB) return;  // C and D are read-only
  settle(now_ns);
  const bool was_held = held();
  const bool divider_was_held = divider_held();
  if (!was_held) store_date(now_ns);
  const bool format_changes = index == kB && ((value ^ cmos_[kB]) & (kBBinary | kB24Hours)) != 0;
  if (index == kA) {
    cmos_[kA] = value & 0x7f;
    if (divider_was_held && !divider_held()) {
      // The first update comes half a second after the divider starts.
      divider_origin_ns_ = static_cast<std::int64_t>(now_ns) - kSecondNs / 2;
      origin_seconds_ = 0;
    }
  } else {
    cmos_[kB] = value;
    if ((value & kBSet) != 0) cmos_[kB] &= static_cast<std::uint8_t>(~kUpdate);
  }
  if (was_held && !held()) load_date(now_ns);
  if (!was_held && !held() && format_changes) store_date(now_ns);
  update_line();
}

std::uint8_t RtcCmos::read_byte(std::uint16_t offset) {
  if (offset != 1) return 0xff;  // the index register cannot be read
  return read_register(index_ & 0x7f, clock_.now().ns);
}

void RtcCmos::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) {
    index_ = value;
  } else if (offset == 1) {
    write_register(index_ & 0x7f, value, clock_.now().ns);
  }
}

}  // namespace chronovisor
