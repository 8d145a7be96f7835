// The keyboard controller of pc-2 with its keyboard and mouse.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/input/ps2_controller.h"
#include "vmm/devices/input/scan_codes.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

using Values = std::vector<unsigned>;

struct Machine {
  ManualClock clock;
  RecordingLines lines;
  Ps2Controller ps2{clock};
  explicit Machine(std::uint32_t state_version = 2) {
    ps2.set_state_version(state_version);
    lines.wire(ps2);
    command(0x60, 0x47);  // both interrupts, translation
    command(0xa8);
  }
  void command(unsigned value) { ps2.write_port(4, 1, value); }
  void command(unsigned value, unsigned argument) {
    ps2.write_port(4, 1, value);
    ps2.write_port(0, 1, argument);
  }
  void to_keyboard(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) ps2.write_port(0, 1, byte);
  }
  void to_mouse(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) command(0xd4, byte);
  }
  void key(std::initializer_list<std::uint8_t> codes) {
    ps2.receive({InputKind::key, 0, Bytes(codes)});
  }
  void move(const Ps2Mouse::Movement& movement) {
    ps2.receive({InputKind::mouse, 0, Ps2Mouse::payload_of(movement)});
  }
  [[nodiscard]] bool full() { return (ps2.read_port(4, 1) & 1) != 0; }
  [[nodiscard]] bool from_mouse() { return (ps2.read_port(4, 1) & 0x21) == 0x21; }
  /// Everything that waits; mouse bytes have bit 8 set.
  Values read() {
    Values values;
    while (full()) {
      const unsigned mouse = from_mouse() ? 0x100 : 0;
      values.push_back(ps2.read_port(0, 1) | mouse);
    }
    return values;
  }
};

Values mouse_bytes(std::initializer_list<unsigned> bytes) {
  Values values;
  for (const unsigned byte : bytes) values.push_back(byte | 0x100);
  return values;
}

TEST_CASE("the controller tests itself and both of its ports") {
  Machine m;
  m.command(0xaa);
  CHECK(m.read() == Values{0x55});
  m.command(0xab);
  m.command(0xa9);
  CHECK(m.read() == Values{0, 0});
  m.command(0x20);
  CHECK(m.read() == Values{0x47});
}

TEST_CASE("a keyboard answers what drivers ask it") {
  Machine m;
  m.to_keyboard({0xff});
  CHECK(m.read() == Values{0xfa, 0xaa});
  m.to_keyboard({0xf2});
  CHECK(m.read() == Values{0xfa, 0xab, 0x41});  // 83H, translated
  m.to_keyboard({0xee});
  CHECK(m.read() == Values{0xee});
  m.to_keyboard({0xed, 0x07});
  CHECK(m.read() == Values{0xfa, 0xfa});
  m.to_keyboard({0xf0, 0x00});
  CHECK(m.read() == Values{0xfa, 0xfa, 0x41});  // set 2, translated
  m.to_keyboard({0xf0, 0x04});
  CHECK(m.read() == Values{0xfa, 0xfe});
  m.to_keyboard({0xfe});
  CHECK(m.read() == Values{0xfe});
}

TEST_CASE("keys come translated, in set 2, or in set 1, as the guest asks") {
  Machine m;
  m.key({0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8});
  CHECK(m.read() == Values{0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8});
  m.command(0x60, 0x07);  // no translation
  m.key({0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8});
  CHECK(m.read() == Values{0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75});
  m.key({0x41, 0xc1});
  CHECK(m.read() == Values{0x83, 0xf0, 0x83});  // F7
  m.key({0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5});
  CHECK(m.read() == Values{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77});  // Pause
  m.to_keyboard({0xf0, 0x01});
  CHECK(m.read() == Values{0xfa, 0xfa});
  m.key({0x1e, 0x9e});
  CHECK(m.read() == Values{0x1e, 0x9e});
}

TEST_CASE("in set 3 each key has one byte, and tells what the guest wants of it") {
  Machine m;
  m.command(0x60, 0x07);  // no translation
  m.to_keyboard({0xf0, 0x03});
  CHECK(m.read() == Values{0xfa, 0xfa});
  m.to_keyboard({0xf0, 0x00});
  CHECK(m.read() == Values{0xfa, 0xfa, 0x03});
  m.key({0x1e, 0x9e, 0x2a, 0xaa, 0x01, 0x81, 0xe0, 0x48, 0xe0, 0xc8});
  CHECK(m.read() == Values{0x1c, 0x12, 0xf0, 0x12, 0x08, 0x63});  // A, Shift, Escape, up
  m.key({0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5});                    // Pause
  m.key({0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa});        // Print, in its shifts
  CHECK(m.read() == Values{0x62, 0x57});

  constexpr std::uint64_t kMs = 1'000'000;
  m.key({0x01});  // Escape does not repeat, a letter does
  run_to(m.clock, m.ps2, 1000 * kMs);
  CHECK(m.read() == Values{0x08});
  m.key({0x81, 0x1e});
  run_to(m.clock, m.ps2, 1500 * kMs);
  CHECK(m.read() == Values{0x1c, 0x1c});
  m.key({0x2a});  // another key: the letter stops
  CHECK(m.ps2.next_deadline_ns() == kNever);
  m.key({0xaa, 0x9e});
  (void)m.read();

  m.to_keyboard({0xfa});  // all keys repeat and tell
  m.to_keyboard({0xfc, 0x1c, 0x08, 0xfd, 0x23});
  (void)m.read();
  m.to_keyboard({0xf4});
  (void)m.read();
  m.key({0x1e, 0x9e, 0x01, 0x81, 0x20, 0xa0, 0x1f, 0x9f});
  CHECK(m.read() == Values{0x1c, 0xf0, 0x1c, 0x08, 0xf0, 0x08, 0x23, 0x1b, 0xf0, 0x1b});
  m.to_keyboard({0xf6});  // as at first, in set 2
  (void)m.read();
  m.key({0x01, 0x81});
  CHECK(m.read() == Values{0x76, 0xf0, 0x76});
}

TEST_CASE("a machine of an older recording has no set 3") {
  Machine old(1);
  old.to_keyboard({0xf0, 0x03});
  CHECK(old.read() == Values{0xfa, 0xfe});
}

TEST_CASE("every key of set 2 has one of set 3") {
  std::vector<unsigned> seen;
  for (unsigned code = 1; code <= 0x58; ++code) {
    CAPTURE(code);
    const unsigned key = set3_of_set1(0, static_cast<std::uint8_t>(code));
    CHECK(key < kSet3Codes);
    if (code == 0x55) continue;  // no key
    CHECK(key != 0);
    if (code != 0x54) seen.push_back(key);  // Print with Alt, below
  }
  for (unsigned code = 1; code < 0x80; ++code) {
    const unsigned key = set3_of_set1(0xe0, static_cast<std::uint8_t>(code));
    CHECK(key < kSet3Codes);
    if (key != 0) seen.push_back(key);
  }
  CHECK(seen.size() == 86 + 18);
  std::ranges::sort(seen);
  CHECK(std::ranges::adjacent_find(seen) == seen.end());
}

TEST_CASE("every key has a code of its own in set 2, which translates back") {
  for (unsigned code = 1; code < 0x80; ++code) {
    CAPTURE(code);
    CHECK(translated(set2_of_set1(static_cast<std::uint8_t>(code))) == code);
  }
  for (unsigned byte = 0x85; byte < 0x100; ++byte) {
    CHECK(translated(static_cast<std::uint8_t>(byte)) == byte);
  }
}

TEST_CASE("a key that is held repeats by virtual time until it is released") {
  Machine m;
  constexpr std::uint64_t kMs = 1'000'000;
  m.key({0x1e});
  CHECK(m.read() == Values{0x1e});
  run_to(m.clock, m.ps2, 499 * kMs);
  CHECK(m.read().empty());
  run_to(m.clock, m.ps2, 500 * kMs);
  CHECK(m.read() == Values{0x1e});
  run_to(m.clock, m.ps2, 1000 * kMs);  // 10.9 a second
  CHECK(m.read() == Values(5, 0x1e));
  m.key({0x9e});
  CHECK(m.read() == Values{0x9e});
  CHECK(m.ps2.next_deadline_ns() == kNever);
  m.to_keyboard({0xf3, 0x00});  // 250 ms, 30 a second
  (void)m.read();
  m.key({0x1e});
  (void)m.read();
  run_to(m.clock, m.ps2, m.clock.ns + 250 * kMs);
  CHECK(m.read() == Values{0x1e});
}

TEST_CASE("a keyboard that the guest does not read loses whole keys, and tells nobody twice") {
  Machine m;
  for (unsigned n = 0; n < 40; ++n) m.key({0xe0, 0x48, 0xe0, 0xc8});
  const Values values = m.read();
  CHECK(values.size() <= 18);
  for (std::size_t n = 0; n + 1 < values.size(); n += 2) CHECK(values[n] == 0xe0);
  m.key({0x1e});
  CHECK(m.read() == Values{0x1e});
}

TEST_CASE("a keyboard that is off, or scans nothing, sends no keys") {
  Machine m;
  m.to_keyboard({0xf5});
  CHECK(m.read() == Values{0xfa});
  m.key({0x1e});
  CHECK(m.read().empty());
  m.to_keyboard({0xf4});
  (void)m.read();
  m.command(0xad);
  m.key({0x1e});
  CHECK(m.read().empty());
  m.command(0xae);
  CHECK(m.read() == Values{0x1e});
}

TEST_CASE("a mouse is found, and a wheel by the knock at its door") {
  Machine m;
  m.to_mouse({0xff});
  CHECK(m.read() == mouse_bytes({0xfa, 0xaa, 0x00}));
  m.to_mouse({0xf2});
  CHECK(m.read() == mouse_bytes({0xfa, 0x00}));
  m.to_mouse({0xf3, 200, 0xf3, 100, 0xf3, 80});
  (void)m.read();
  m.to_mouse({0xf2});
  CHECK(m.read() == mouse_bytes({0xfa, 0x03}));
  m.to_mouse({0xf3, 200, 0xf3, 200, 0xf3, 80});
  (void)m.read();
  m.to_mouse({0xf2});
  CHECK(m.read() == mouse_bytes({0xfa, 0x04}));
  m.to_mouse({0xe9});
  CHECK(m.read() == mouse_bytes({0xfa, 0x00, 2, 80}));
}

TEST_CASE("movements come as packets, and add up while nobody reads") {
  Machine m;
  m.to_mouse({0xf4});
  (void)m.read();
  m.move({1, 5, 3, 0});
  CHECK(m.read() == mouse_bytes({0x29, 5, 0xfd}));  // up is positive on the wire
  m.move({1, 5, 3, 0});
  m.move({1, 7, 3, 0});
  m.move({0, 1, 0, 0});
  CHECK(m.read() == mouse_bytes({0x29, 5, 0xfd, 0x28, 8, 0xfd}));
  m.move({0, 600, 0, 0});
  const Values far = m.read();
  CHECK(far.size() == 9);
  CHECK(far[1] == 0x1ff);
  m.to_mouse({0xf5});
  (void)m.read();
  m.move({0, 10, 0, 0});
  CHECK(m.read().empty());
}

TEST_CASE("each port has an interrupt of its own, one edge a byte") {
  Machine m;
  m.to_mouse({0xf4});
  (void)m.read();
  m.lines.events.clear();
  m.move({0, 1, 0, 0});
  (void)m.read();
  CHECK(m.lines.events == std::vector<std::uint64_t>{25, 24, 25, 24, 25, 24});  // IRQ 12
  m.lines.events.clear();
  m.key({0x1e});
  (void)m.read();
  CHECK(m.lines.events == std::vector<std::uint64_t>{3, 2});
}

TEST_CASE("resets asked for by command and by the output port") {
  Machine m;
  unsigned resets = 0;
  m.ps2.on_reset_request([&] { ++resets; });
  m.command(0xfe);
  m.command(0xd1, 0xfe);
  m.command(0xd1, 0xff);
  CHECK(resets == 2);
}

}  // namespace
}  // namespace chronovisor
