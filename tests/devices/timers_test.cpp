#include "tests/devices/device_test_support.h"
#include "tests/devices/pit_fixture.h"
#include "vmm/devices/core/tick_rate.h"
#include "vmm/devices/power/acpi_pm.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint64_t kYearNs = 31'556'952'000'000'000;

TEST_CASE("tick conversion is exact in both directions for years") {
  for (const std::uint64_t tick : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1193182},
                                   std::uint64_t{1} << 40, std::uint64_t{1} << 53}) {
    for (const TickRate rate : {kPitRate, kPmTimerRate}) {
      const std::uint64_t at = rate.first_ns_of(tick);
      CHECK(rate.ticks_at(at) == tick);
      if (at != 0) CHECK(rate.ticks_at(at - 1) == tick - 1);
    }
  }
  CHECK(kPmTimerRate.ticks_at(1'000'000'000) == 3'579'545);
  CHECK(kPitRate.first_ns_of(kNever) == kNever);
  CHECK(kPitRate.first_ns_of(kNever - 1) == kNever);
}

TEST_CASE("the PIT's rate generator ticks without drift") {
  for (const unsigned mode : {2U, 3U}) {
    CAPTURE(mode);
    PitFixture f;
    f.program(0, mode, 11932);
    const unsigned before = f.lines.rises;
    for (std::uint64_t period = 1; period <= 1000; ++period) {
      REQUIRE(f.pit.next_deadline_ns() == kPitRate.first_ns_of(1 + period * 11932));
      f.clock.ns = f.pit.next_deadline_ns();
      f.pit.advance(f.clock.now());
    }
    CHECK(f.lines.rises - before == 1000);
    f.clock.ns = 5 * kYearNs;
    f.pit.advance(f.clock.now());
    CHECK(f.lines.rises - before == 1001);  // a long warp is one edge
    const std::uint64_t tick = kPitRate.ticks_at(5 * kYearNs);
    CHECK(f.pit.next_deadline_ns() == kPitRate.first_ns_of(tick + 11932 - (tick - 1) % 11932));
  }
}

TEST_CASE("PIT mode 0 rises once at the terminal count") {
  PitFixture f;
  f.program(0, 0, 100);
  CHECK_FALSE(f.lines.level);
  f.to_tick(51);
  CHECK(f.latched(0) == 50);
  CHECK(f.pit.next_deadline_ns() == kPitRate.first_ns_of(101));
  f.to_tick(101);
  f.pit.advance(f.clock.now());
  CHECK(f.lines.level);
  CHECK(f.pit.next_deadline_ns() == kNever);
  f.to_tick(111);
  CHECK(f.latched(0) == 65536 - 10);  // keeps counting
  f.out(3, 0xe2);                     // read back the status of counter 0
  CHECK(f.in(0) == 0xb0);
}

TEST_CASE("a new count in mode 2 waits for the end of the period, in mode 3 of the half") {
  PitFixture f;
  f.program(0, 2, 1000);
  f.to_tick(501);
  f.out(0, 0xd0);
  f.out(0, 0x07);  // 2000
  CHECK(f.pit.next_deadline_ns() == kPitRate.first_ns_of(1001));
  f.to_tick(1001);
  f.pit.advance(f.clock.now());
  CHECK(f.pit.next_deadline_ns() == kPitRate.first_ns_of(3001));

  PitFixture g;
  g.program(0, 3, 1000);
  g.to_tick(101);
  g.out(0, 0xd0);
  g.out(0, 0x07);
  // High until 501, then half a period of 2000 low.
  CHECK(g.pit.next_deadline_ns() == kPitRate.first_ns_of(1501));
  g.to_tick(1501);
  g.pit.advance(g.clock.now());
  CHECK(g.pit.next_deadline_ns() == kPitRate.first_ns_of(3501));
}

TEST_CASE("PIT reads: latch, byte order, read-back, BCD") {
  PitFixture f;
  f.program(0, 2, 0x1234);
  f.to_tick(1);
  f.out(3, 0x00);
  f.to_tick(100);
  CHECK(f.in(0) == 0x34);
  CHECK(f.in(0) == 0x12);
  f.out(3, 0xc2);  // latch count and status
  CHECK(f.in(0) == 0xb4);
  CHECK((f.in(0) | (f.in(0) << 8)) == 0x1234 - 99);
  f.out(3, 0x31);  // counter 0, mode 0, BCD
  f.out(0, 0x00);
  f.out(0, 0x10);  // 1000
  f.to_tick(100 + 1 + 1);
  CHECK(f.latched(0) == 0x0999);
  f.out(3, 0x30);
  f.out(3, 0xe2);
  CHECK((f.in(0) & 0xc0) == 0x40);  // null count, OUT low
}

TEST_CASE("port 0x61 gates counter 2 and shows its output, as TSC calibration needs") {
  PitFixture f;
  f.out(4, 0x01);
  f.program(2, 0, 59659);  // 50 ms
  CHECK((f.in(4) & 0x21) == 0x01);
  f.clock.ns = 49'999'000;
  CHECK((f.in(4) & 0x20) == 0);
  f.clock.ns = 50'001'500;
  CHECK((f.in(4) & 0x20) != 0);
  CHECK(f.pit.next_deadline_ns() == kNever);
  SUBCASE("the gate stops the count") {
    f.program(2, 0, 1000);
    const std::uint64_t start = kPitRate.ticks_at(f.clock.ns) + 1;
    f.to_tick(start + 400);
    f.out(4, 0x00);
    f.to_tick(start + 5000);
    CHECK(f.latched(2) == 600);
    f.out(4, 0x01);
    f.to_tick(start + 5001 + 599);
    CHECK((f.in(4) & 0x20) == 0);
    f.to_tick(start + 5001 + 600);
    CHECK((f.in(4) & 0x20) != 0);
  }
  SUBCASE("the refresh bit toggles about every 15 us") {
    unsigned toggles = 0;
    unsigned last = f.in(4) & 0x10;
    for (unsigned us = 0; us < 1000; ++us) {
      f.clock.ns += 1000;
      if ((f.in(4) & 0x10) != last) {
        last ^= 0x10;
        ++toggles;
      }
    }
    CHECK(toggles >= 65);
    CHECK(toggles <= 67);
  }
}

struct RtcFixture {
  ManualClock clock;
  RecordingLines lines;
  // 2024-02-28 23:59:58 UTC, a Wednesday
  RtcCmos rtc{clock, {256U << 20, 3ULL << 30}, 1'709'164'798};
  RtcFixture() { lines.wire(rtc); }
  unsigned get(unsigned index) {
    rtc.write_port(0, 1, index);
    return rtc.read_port(1, 1);
  }
  void set(unsigned index, unsigned value) {
    rtc.write_port(0, 1, index);
    rtc.write_port(1, 1, value);
  }
};

TEST_CASE("the RTC keeps the calendar") {
  RtcFixture f;
  CHECK(f.get(0x00) == 0x58);
  CHECK(f.get(0x02) == 0x59);
  CHECK(f.get(0x04) == 0x23);
  CHECK(f.get(0x06) == 0x04);
  CHECK(f.get(0x07) == 0x28);
  CHECK(f.get(0x08) == 0x02);
  CHECK(f.get(0x09) == 0x24);
  CHECK(f.get(0x32) == 0x20);
  f.clock.ns = 1'999'999'999;
  CHECK(f.get(0x00) == 0x59);
  f.clock.ns = 2'000'000'000;
  CHECK(f.get(0x07) == 0x29);  // leap day
  CHECK(f.get(0x06) == 0x05);
  f.clock.ns += 86'400'000'000'000;
  CHECK(f.get(0x07) == 0x01);
  CHECK(f.get(0x08) == 0x03);
  SUBCASE("binary and twelve-hour formats") {
    f.clock.ns += 13 * 3'600'000'000'000;
    f.set(0x0b, 0x04);
    CHECK(f.get(0x04) == 0x81);
    CHECK(f.get(0x09) == 24);
    f.set(0x0b, 0x00);
    f.clock.ns -= 3'600'000'000'000;
    CHECK(f.get(0x04) == 0x92);
  }
}

TEST_CASE("the RTC can be set, and starts half a second after the divider") {
  RtcFixture f;
  f.clock.ns = 10'300'000'000;
  f.set(0x0b, 0x82);
  f.set(0x0a, 0x76);
  f.set(0x09, 0x99);
  f.set(0x32, 0x19);
  f.set(0x08, 0x12);
  f.set(0x07, 0x31);
  f.set(0x04, 0x23);
  f.set(0x02, 0x59);
  f.set(0x00, 0x59);
  f.clock.ns = 20'000'000'000;
  CHECK(f.get(0x00) == 0x59);
  f.set(0x0b, 0x02);
  f.set(0x0a, 0x26);
  f.clock.ns += 499'999'999;
  CHECK(f.get(0x00) == 0x59);
  CHECK(f.get(0x0a) == 0xa6);  // update in progress
  f.clock.ns += 1;
  CHECK(f.get(0x0a) == 0x26);
  CHECK(f.get(0x00) == 0x00);
  CHECK(f.get(0x09) == 0x00);
  CHECK(f.get(0x32) == 0x20);
}

TEST_CASE("RTC interrupts: update, alarm, periodic") {
  RtcFixture f;
  CHECK(f.rtc.next_deadline_ns() == kNever);
  SUBCASE("update-ended, once until register C is read") {
    f.set(0x0b, 0x12);
    CHECK(f.rtc.next_deadline_ns() == 1'000'000'000);
    f.clock.ns = 1'000'000'000;
    f.rtc.advance(f.clock.now());
    CHECK(f.lines.level);
    CHECK(f.rtc.next_deadline_ns() == kNever);
    CHECK((f.get(0x0c) & 0xf0) == 0xd0);  // the periodic flag is set besides
    CHECK_FALSE(f.lines.level);
    CHECK(f.rtc.next_deadline_ns() == 2'000'000'000);
  }
  SUBCASE("alarm at 00:01:05, then every minute, then never") {
    f.set(0x05, 0x00);
    f.set(0x03, 0x01);
    f.set(0x01, 0x05);
    f.set(0x0b, 0x22);
    CHECK(f.rtc.next_deadline_ns() == 67'000'000'000);
    f.set(0x05, 0xff);
    f.set(0x03, 0xff);
    CHECK(f.rtc.next_deadline_ns() == 7'000'000'000);
    run_to(f.clock, f.rtc, 8'000'000'000);
    CHECK(f.lines.level);
    CHECK((f.get(0x0c) & 0xa0) == 0xa0);
    CHECK(f.rtc.next_deadline_ns() == 67'000'000'000);
    f.set(0x01, 0x61);
    CHECK(f.rtc.next_deadline_ns() == kNever);
  }
  SUBCASE("periodic at 1024 Hz without drift") {
    f.set(0x0b, 0x42);
    for (std::uint64_t i = 1; i <= 2048; ++i) {
      REQUIRE(f.rtc.next_deadline_ns() == (i * 1'000'000'000 + 1023) / 1024);
      f.clock.ns = f.rtc.next_deadline_ns();
      f.rtc.advance(f.clock.now());
      (void)f.get(0x0c);
    }
    CHECK(f.lines.rises == 2048);
    f.clock.ns = 3 * kYearNs + 1;
    f.rtc.advance(f.clock.now());
    CHECK(f.lines.rises == 2049);
    (void)f.get(0x0c);
    CHECK(f.rtc.next_deadline_ns() - f.clock.ns <= 976'563);
  }
}

TEST_CASE("the CMOS holds the memory sizes") {
  RtcFixture f;
  CHECK((f.get(0x15) | (f.get(0x16) << 8)) == 640);
  CHECK((f.get(0x17) | (f.get(0x18) << 8)) == 65535);
  CHECK((f.get(0x34) | (f.get(0x35) << 8)) == (240U << 20) >> 16);
  CHECK((f.get(0x5b) | (f.get(0x5c) << 8) | (f.get(0x5d) << 16)) == (3ULL << 30) >> 16);
  CHECK(f.get(0x0d) == 0x80);
  f.set(0x40, 0xa5);
  f.rtc.reset();
  CHECK(f.get(0x40) == 0xa5);
}

TEST_CASE("the PM timer counts at 3.579545 MHz and reports its overflow") {
  ManualClock clock;
  RecordingLines lines;
  AcpiPm pm(clock, AcpiPm::TimerWidth::bits24);
  lines.wire(pm);
  clock.ns = 1'000'000'000;
  CHECK(pm.read_port(8, 4) == 3'579'545);
  clock.ns = 5'000'000'000;
  CHECK(pm.read_port(8, 4) == (5 * 3'579'545) % (1U << 24));
  CHECK(pm.read_port(0, 2) == 1);
  CHECK(pm.next_deadline_ns() == kNever);
  pm.write_port(AcpiPm::kSmiCommandOffset, 1, AcpiPm::kSmiAcpiEnable);
  CHECK((pm.read_port(4, 2) & 1) == 1);
  pm.write_port(0, 2, 1);
  pm.write_port(2, 2, 1);
  const std::uint64_t next = kPmTimerRate.first_ns_of(3U << 23);
  CHECK(pm.next_deadline_ns() == next);
  clock.ns = next;
  pm.advance(clock.now());
  CHECK(lines.level);
  CHECK(pm.next_deadline_ns() == kNever);
  pm.write_port(0, 2, 1);
  CHECK_FALSE(lines.level);
  CHECK(pm.next_deadline_ns() == kPmTimerRate.first_ns_of(4U << 23));
  AcpiPm wide(clock, AcpiPm::TimerWidth::bits32);
  clock.ns = kYearNs;
  CHECK(wide.read_port(8, 4) == static_cast<std::uint32_t>(kPmTimerRate.ticks_at(kYearNs)));
}

TEST_CASE("ACPI power: S5 turns off, the button and GPEs raise the SCI") {
  ManualClock clock;
  RecordingLines lines;
  AcpiPm pm(clock, AcpiPm::TimerWidth::bits24);
  lines.wire(pm);
  unsigned power_offs = 0;
  pm.on_power_off([&] { ++power_offs; });
  pm.press_power_button();
  pm.write_port(2, 2, 0x100);
  CHECK_FALSE(lines.level);  // legacy mode
  pm.write_port(AcpiPm::kSmiCommandOffset, 1, AcpiPm::kSmiAcpiEnable);
  CHECK(lines.level);
  pm.write_port(0, 2, 0x100);
  CHECK_FALSE(lines.level);
  pm.raise_gpe(3);
  pm.write_port(AcpiPm::kGpe0Offset + 2, 2, 8);
  CHECK(lines.level);
  pm.write_port(AcpiPm::kGpe0Offset, 2, 8);
  CHECK_FALSE(lines.level);
  pm.write_port(4, 2, 0x2001 | (1U << 10));
  CHECK(power_offs == 0);
  CHECK((pm.read_port(0, 2) & 0x8000) != 0);  // woke at once
  pm.write_port(4, 2, 0x2001 | (AcpiPm::kSleepTypeS5 << 10));
  CHECK(power_offs == 1);
  pm.write_port(4, 2, 0x2000);  // what guests written for QEMU do
  CHECK(power_offs == 2);
  CHECK((pm.read_port(4, 2) & 0x2000) == 0);
}

}  // namespace
}  // namespace chronovisor
