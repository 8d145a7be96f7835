// Owns an 8254 as the tests of timers drive it: by its ports, with a clock of their own.
#pragma once

#include <cstdint>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/timer/pit.h"

namespace chronovisor::test {

struct PitFixture {
  ManualClock clock;
  RecordingLines lines;
  Pit pit{clock};
  PitFixture() { lines.wire(pit); }
  void out(unsigned port, unsigned value) {
    pit.write_port(static_cast<std::uint16_t>(port), 1, value);
  }
  unsigned in(unsigned port) { return pit.read_port(static_cast<std::uint16_t>(port), 1); }
  void mode(unsigned counter, unsigned mode) { out(3, (counter << 6) | 0x30 | (mode << 1)); }
  void count(unsigned counter, unsigned count) {
    out(counter, count & 0xff);
    out(counter, count >> 8);
  }
  void program(unsigned counter, unsigned with_mode, unsigned with_count) {
    mode(counter, with_mode);
    count(counter, with_count);
  }
  void gate2(bool level) { out(4, level ? 1 : 0); }
  unsigned status(unsigned counter) {
    out(3, 0xe0 | (2U << counter));
    return in(counter);
  }
  bool null_count(unsigned counter) { return (status(counter) & 0x40) != 0; }
  unsigned latched(unsigned counter) {
    out(3, counter << 6);
    const unsigned low = in(counter);
    return low | (in(counter) << 8);
  }
  void to_tick(std::uint64_t tick) { clock.ns = kPitRate.first_ns_of(tick); }
};

}  // namespace chronovisor::test
