// What registers read back, by the data sheets: modes, null counts, errors, bits
// that cannot be written, answers that are translated.
#include <doctest/doctest.h>

#include "tests/devices/device_test_support.h"
#include "tests/devices/pit_fixture.h"
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/interrupt/apic_bus.h"
#include "vmm/devices/interrupt/local_apic.h"
#include "vmm/devices/legacy/coprocessor_error.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"

namespace chronovisor {

using namespace chronovisor::test;

TEST_CASE("the 8254's status has the mode as it was written, 6 and 7 too") {
  for (unsigned mode = 0; mode < 8; ++mode) {
    CAPTURE(mode);
    PitFixture t;
    t.mode(0, mode);
    CHECK((t.status(0) & 0x0e) == mode << 1);
    if (mode < 6) continue;
    // They count as 2 and 3 do.
    t.count(0, 1000);
    PitFixture same;
    same.mode(0, mode & 3);
    same.count(0, 1000);
    t.to_tick(400);
    same.to_tick(400);
    CHECK(t.latched(0) == same.latched(0));
    CHECK(t.pit.next_deadline_ns() == same.pit.next_deadline_ns());
  }
}

TEST_CASE("the 8254's null count is 1 from the write of a count until it is loaded") {
  SUBCASE("modes 1 and 5 load at the next trigger, each time") {
    for (const unsigned mode : {1U, 5U}) {
      CAPTURE(mode);
      PitFixture t;
      t.mode(2, mode);
      CHECK(t.null_count(2));
      t.count(2, 1000);
      t.to_tick(10);
      CHECK(t.null_count(2));
      t.gate2(true);
      t.to_tick(20);
      CHECK_FALSE(t.null_count(2));
      t.count(2, 500);  // while the first one counts
      t.to_tick(30);
      CHECK(t.null_count(2));
      CHECK(t.latched(2) > 900);
      t.gate2(false);
      t.gate2(true);
      t.to_tick(40);
      CHECK_FALSE(t.null_count(2));
      CHECK(t.latched(2) <= 500);
    }
  }
  SUBCASE("modes 2 and 3 with the gate low load when it rises") {
    for (const unsigned mode : {2U, 3U}) {
      CAPTURE(mode);
      PitFixture t;
      t.gate2(true);
      t.mode(2, mode);
      t.count(2, 1000);
      t.to_tick(100);
      CHECK_FALSE(t.null_count(2));
      t.gate2(false);
      t.count(2, 600);
      t.to_tick(200);
      CHECK(t.null_count(2));
      t.gate2(true);
      t.to_tick(210);
      CHECK_FALSE(t.null_count(2));
      CHECK(t.latched(2) <= 600);
      // Written in the middle of a period, and then the gate falls.
      t.count(2, 800);
      CHECK(t.null_count(2));
      t.gate2(false);
      t.to_tick(5000);
      CHECK(t.null_count(2));
      t.gate2(true);
      t.to_tick(5010);
      CHECK_FALSE(t.null_count(2));
    }
  }
  SUBCASE("mode 0 with the gate low loads, and does not count") {
    PitFixture t;
    t.mode(2, 0);
    t.count(2, 1000);
    CHECK(t.null_count(2));
    t.to_tick(100);
    CHECK_FALSE(t.null_count(2));
    CHECK(t.latched(2) == 1000);
  }
}

TEST_CASE("the first byte of a count in mode 0 stops the 8254 where it is, with OUT low") {
  PitFixture t;
  t.mode(0, 0);
  t.count(0, 1000);
  t.to_tick(101);
  const unsigned before = t.latched(0);
  t.out(0, 0x34);
  CHECK_FALSE(t.null_count(0));
  t.to_tick(5000);
  CHECK(t.latched(0) == before);
  CHECK((t.status(0) & 0x80) == 0);
  t.out(0, 0x12);
  CHECK(t.null_count(0));
  t.to_tick(5001);
  CHECK_FALSE(t.null_count(0));
  CHECK(t.latched(0) == 0x1234);
}

TEST_CASE("the top bit of the RTC's seconds cannot be written") {
  ManualClock clock;
  RecordingLines lines;
  RtcCmos rtc{clock, {1U << 20, 0}, 0};
  lines.wire(rtc);
  const auto write = [&](unsigned index, unsigned value) {
    rtc.write_port(0, 1, index);
    rtc.write_port(1, 1, value);
  };
  const auto read = [&](unsigned index) {
    rtc.write_port(0, 1, index);
    return rtc.read_port(1, 1);
  };
  write(0x0b, 0x82);
  write(0x00, 0xd9);
  CHECK(read(0x00) == 0x59);
  write(0x01, 0xc0);  // the alarm's "any" needs both upper bits
  CHECK(read(0x01) == 0xc0);
}

namespace {

struct NoBus final : ApicBus {
  void deliver(const ApicMessage& /*message*/) override {}
  void broadcast_eoi(std::uint8_t /*vector*/) override {}
};

}  // namespace

TEST_CASE("reserved addresses of the local APIC are errors, read or written") {
  ManualClock clock;
  NoBus bus;
  LocalApic apic(clock, bus, 40);
  apic.write_mmio(0xf0, 4, 0x1ff);
  const auto error = [&] {
    apic.write_mmio(0x280, 4, 0);
    return apic.read_mmio(0x280, 4);
  };
  for (const std::uint64_t offset :
       {0x000, 0x010, 0x040, 0x070, 0x0c0, 0x290, 0x2f0, 0x3a0, 0x3d0, 0x3f0, 0x400, 0xff0}) {
    CAPTURE(offset);
    CHECK(apic.read_mmio(offset, 4) == 0);
    CHECK(error() == 0x80);
    apic.write_mmio(offset, 4, 1);
    CHECK(error() == 0x80);
    CHECK(error() == 0);
  }
  for (const std::uint64_t offset :
       {0x020, 0x030, 0x080, 0x0a0, 0x0d0, 0x0e0, 0x0f0, 0x100, 0x170, 0x1f0, 0x270, 0x280, 0x300,
        0x310, 0x320, 0x370, 0x380, 0x390, 0x3e0}) {
    CAPTURE(offset);
    (void)apic.read_mmio(offset, 4);
    CHECK(error() == 0);
  }
  // The interrupt for it comes by the error entry.
  apic.write_mmio(0x370, 4, 0x44);
  (void)apic.read_mmio(0x010, 4);
  CHECK(apic.pending());
  CHECK(apic.acknowledge() == 0x44);
}

TEST_CASE("the keyboard's answers are translated like its scan codes") {
  struct Case {
    bool translated;
    unsigned set, answer;
  };
  for (const Case& c : {Case{true, 1, 0x43}, Case{true, 2, 0x41}, Case{true, 3, 0x3f},
                        Case{false, 1, 1}, Case{false, 2, 2}, Case{false, 3, 3}}) {
    CAPTURE(c.translated);
    CAPTURE(c.set);
    RecordingLines lines;
    I8042 keyboard;
    lines.wire(keyboard);
    const auto data = [&](unsigned value) {
      keyboard.write_port(0, 1, value);
      return keyboard.read_port(0, 1);
    };
    keyboard.write_port(4, 1, 0x60);
    keyboard.write_port(0, 1, c.translated ? 0x40 : 0);
    CHECK(data(0xf0) == 0xfa);
    CHECK(data(c.set) == 0xfa);
    CHECK(data(0xf0) == 0xfa);
    CHECK(data(0) == 0xfa);
    CHECK(keyboard.read_port(0, 1) == c.answer);
    CHECK(data(0xfe) == c.answer);  // sent again, not translated again
    CHECK(data(0xf2) == 0xfa);
    CHECK(keyboard.read_port(0, 1) == 0xab);
    CHECK(keyboard.read_port(0, 1) == (c.translated ? 0x41 : 0x83));
    CHECK(data(0xee) == 0xee);
  }
}

TEST_CASE("port 0xf0 takes IRQ 13 back and lets the error be ignored until it is gone") {
  RecordingLines lines;
  CoprocessorError circuit;
  lines.wire(circuit);
  circuit.write_port(0, 1, 0);  // without an error it does nothing
  CHECK_FALSE(circuit.error());
  CHECK(lines.level);
  CHECK_FALSE(circuit.error());
  circuit.write_port(0, 1, 0);
  CHECK_FALSE(lines.level);
  CHECK(circuit.error());  // IGNNE#
  CHECK_FALSE(lines.level);
  circuit.error_cleared();
  CHECK_FALSE(circuit.error());
  CHECK(lines.rises == 2);
}

}  // namespace chronovisor
