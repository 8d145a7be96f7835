#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/bus/bus.h"
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/power/system_control.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

struct UartFixture {
  ManualClock clock;
  RecordingLines lines;
  RecordingBytes output;
  Uart16550 uart{0, clock, output};
  UartFixture() { lines.wire(uart); }
  unsigned in(unsigned offset) { return uart.read_port(static_cast<std::uint16_t>(offset), 1); }
  void out(unsigned offset, unsigned value) {
    uart.write_port(static_cast<std::uint16_t>(offset), 1, value);
  }
};

TEST_CASE("the UART is found by a driver's probe") {
  UartFixture f;
  f.out(1, 0xff);
  CHECK(f.in(1) == 0x0f);
  f.out(1, 0);
  f.out(4, 0x1a);  // loop, OUT2, RTS
  CHECK((f.in(6) & 0xf0) == 0x90);
  f.out(4, 0);
  CHECK((f.in(6) & 0xf0) == 0xb0);
  f.out(2, 0x01);
  CHECK(f.in(2) == 0xc1);
  f.out(7, 0x5a);
  CHECK(f.in(7) == 0x5a);
  f.out(3, 0x83);
  f.uart.write_port(0, 2, 0x0123);
  CHECK(f.uart.read_port(0, 2) == 0x0123);
  f.out(3, 0x03);
  CHECK(f.in(5) == 0x60);
}

TEST_CASE("THRE interrupts: on enabling, on every write, cleared by IIR") {
  UartFixture f;
  f.out(1, 0x02);
  CHECK(f.lines.level);
  CHECK(f.in(2) == 0x02);
  CHECK_FALSE(f.lines.level);
  CHECK(f.in(2) == 0x01);
  f.out(0, 'a');
  f.out(0, 'b');
  CHECK(f.output.text == "ab");
  CHECK(f.lines.level);
  CHECK(f.lines.rises == 3);  // an edge for each
  f.out(1, 0x00);
  CHECK_FALSE(f.lines.level);
  f.out(1, 0x02);
  CHECK(f.lines.level);
}

TEST_CASE("received bytes interrupt at the trigger level, and time out below it") {
  UartFixture f;
  f.out(2, 0x41);  // trigger 4
  f.out(3, 0x03);  // 8N1: 10 bits
  f.out(1, 0x01);
  f.uart.receive('x');
  CHECK_FALSE(f.lines.level);
  const std::uint64_t four_characters = 4ULL * 10 * 16 * 12 * 1'000'000'000 / 1'843'200 + 1;
  CHECK(f.uart.next_deadline_ns() == four_characters);
  f.clock.ns = four_characters;
  f.uart.advance(f.clock.now());
  CHECK(f.lines.level);
  CHECK(f.in(2) == 0xcc);
  CHECK(f.uart.next_deadline_ns() == kNever);
  CHECK(f.in(0) == 'x');
  CHECK_FALSE(f.lines.level);
  for (const char c : {'1', '2', '3', '4'}) f.uart.receive(static_cast<std::uint8_t>(c));
  CHECK(f.in(2) == 0xc4);
  CHECK(f.uart.next_deadline_ns() == kNever);
  CHECK(f.in(0) == '1');
  CHECK(f.in(2) == 0xc1);
}

TEST_CASE("a full FIFO refuses, and what comes anyway is an overrun") {
  UartFixture f;
  CHECK(f.uart.can_receive());
  f.uart.receive('a');
  CHECK_FALSE(f.uart.can_receive());
  f.uart.receive('b');  // no FIFO: the newer byte stays
  CHECK((f.in(5) & 0x03) == 0x03);
  CHECK(f.in(0) == 'b');
  f.out(2, 0x01);
  f.out(1, 0x04);
  for (unsigned i = 0; i < 16; ++i) {
    CHECK(f.uart.can_receive());
    f.uart.receive(static_cast<std::uint8_t>(i));
  }
  CHECK_FALSE(f.uart.can_receive());
  f.uart.receive(99);
  CHECK(f.in(2) == 0xc6);
  CHECK((f.in(5) & 0x02) != 0);
  CHECK((f.in(5) & 0x02) == 0);
  for (unsigned i = 0; i < 16; ++i) CHECK(f.in(0) == i);
  CHECK((f.in(5) & 0x01) == 0);
}

TEST_CASE("a break is reported when it reaches the top of the FIFO") {
  UartFixture f;
  f.out(2, 0x01);
  f.uart.receive('a');
  f.uart.receive_break();
  CHECK((f.in(5) & 0x90) == 0x80);
  CHECK(f.in(0) == 'a');
  CHECK((f.in(5) & 0x90) == 0x90);
  CHECK(f.in(0) == 0);
  CHECK((f.in(5) & 0x91) == 0);
}

TEST_CASE("loopback returns what is sent and disconnects the line") {
  UartFixture f;
  f.out(4, 0x10);
  CHECK_FALSE(f.uart.can_receive());
  f.uart.receive('x');
  CHECK((f.in(5) & 1) == 0);
  f.out(0, 'y');
  CHECK(f.in(0) == 'y');
  CHECK(f.output.text.empty());
}

TEST_CASE("the keyboard controller passes its self-tests and finds a keyboard") {
  RecordingLines lines;
  I8042 keyboard;
  lines.wire(keyboard);
  const auto command = [&](unsigned value) { keyboard.write_port(4, 1, value); };
  const auto data = [&](unsigned value) { keyboard.write_port(0, 1, value); };
  const auto answer = [&]() -> unsigned {
    REQUIRE((keyboard.read_port(4, 1) & 1) == 1);
    return keyboard.read_port(0, 1);
  };
  command(0xaa);
  CHECK(lines.level);
  CHECK(answer() == 0x55);
  CHECK_FALSE(lines.level);
  command(0xab);
  CHECK(answer() == 0x00);
  command(0x60);
  data(0x00);
  command(0x20);
  CHECK(answer() == 0x20);  // no auxiliary port
  command(0xa8);
  command(0x20);
  CHECK(answer() == 0x20);
  data(0xff);
  CHECK(answer() == 0xfa);
  CHECK(answer() == 0xaa);
  data(0xf2);
  CHECK(answer() == 0xfa);
  CHECK(answer() == 0xab);
  CHECK(answer() == 0x83);
  data(0xed);
  CHECK(answer() == 0xfa);
  data(0x02);
  CHECK(answer() == 0xfa);
  data(0xee);
  CHECK(answer() == 0xee);
  command(0xd4);
  data(0xff);
  CHECK(answer() == 0xfe);
  SUBCASE("scan codes wait while the keyboard is off") {
    command(0xad);
    keyboard.receive_scan_code(0x1e);
    CHECK((keyboard.read_port(4, 1) & 1) == 0);
    command(0xae);
    CHECK(answer() == 0x1e);
  }
  SUBCASE("A20 reads back, and the reset line resets") {
    unsigned resets = 0;
    keyboard.on_reset_request([&] { ++resets; });
    command(0xd1);
    data(0xdd);
    command(0xd0);
    CHECK((answer() & 0x03) == 0x01);
    command(0xd1);
    data(0xdf);
    CHECK(resets == 0);
    command(0xfe);
    CHECK(resets == 1);
    command(0xd1);
    data(0xde);
    CHECK(resets == 2);
  }
}

struct FakeFunction final : PciFunction {
  std::uint32_t read_config(std::uint8_t offset, unsigned width) override {
    return offset * 256U + width;
  }
  void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) override {
    writes.push_back(offset * 0x10000U + width * 0x1000U + value);
  }
  std::vector<std::uint32_t> writes;
};

TEST_CASE("PCI configuration reaches the host bridge and registered functions") {
  PciHost pci;
  FakeFunction function;
  pci.add({0, 3, 1}, function);
  PortBus bus;
  bus.map(0xcf8, 8, pci);
  bus.write(0xcfb, 1, 1);  // a driver's probe
  bus.write(0xcf8, 4, 0x80000000);
  CHECK(bus.read(0xcf8, 4) == 0x80000000);
  CHECK(bus.read(0xcfc, 4) == 0x12378086);
  CHECK(bus.read(0xcfe, 2) == 0x1237);
  bus.write(0xcfc, 4, 0);
  CHECK(bus.read(0xcfc, 4) == 0x12378086);
  bus.write(0xcf8, 4, 0x80000008);
  CHECK(bus.read(0xcfe, 2) == 0x0600);
  bus.write(0xcf8, 4, 0x80001910);
  CHECK(bus.read(0xcfe, 2) == 0x1202);
  bus.write(0xcfd, 1, 0xab);
  CHECK(function.writes == std::vector<std::uint32_t>{0x1110ab});
  bus.write(0xcf8, 4, 0x80002000);
  CHECK(bus.read(0xcfc, 4) == 0xffffffff);
  bus.write(0xcf8, 4, 0x00000000);
  CHECK(bus.read(0xcfc, 2) == 0xffff);
  unsigned resets = 0;
  pci.on_reset_request([&] { ++resets; });
  bus.write(0xcf9, 1, 0x02);
  CHECK(resets == 0);
  bus.write(0xcf9, 1, PciHost::kResetValue);
  CHECK(resets == 1);
  CHECK(bus.read(0xcf9, 1) == 0x06);
}

TEST_CASE("the small ports do what they are for") {
  std::vector<std::uint32_t> exits;
  DebugExit debug_exit([&](std::uint32_t value) { exits.push_back(value); });
  RecordingBytes output;
  DebugConsole console(output);
  PostPort post;
  SystemControl control;
  unsigned resets = 0;
  control.on_reset_request([&] { ++resets; });
  PortBus bus;
  bus.map(0xf4, 4, debug_exit);
  bus.map(0xe9, 1, console);
  bus.map(0x80, 1, post);
  bus.map(0x92, 1, control);
  bus.write(0xf4, 1, 7);
  bus.write(0xf4, 2, 0x1234);
  bus.write(0xf4, 4, 0xdeadbeef);
  CHECK(exits == std::vector<std::uint32_t>{7, 0x1234, 0xdeadbeef});
  CHECK(bus.read(0xe9, 1) == 0xe9);
  bus.write(0xe9, 1, 'h');
  bus.write(0xe9, 2, 0x0069);  // the second byte goes to port 0xea: nobody
  CHECK(output.text == "hi");
  bus.write(0x80, 1, 0x42);
  CHECK(bus.read(0x80, 1) == 0x42);
  CHECK(post.code() == 0x42);
  CHECK(bus.read(0x92, 1) == 0x02);
  bus.write(0x92, 1, 0x01);
  bus.write(0x92, 1, 0x01);
  CHECK(resets == 1);
  CHECK(bus.read(0x92, 1) == 0x01);
}

/// Answers with its offset, remembers what is written.
struct Probe final : PortDevice, MmioDevice {
  std::uint32_t read_port(std::uint16_t offset, unsigned width) override {
    return 0xabcd0000U + offset * 16U + width;
  }
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override {
    seen.push_back(offset * 0x1000000ULL + width * 0x100000ULL + value);
  }
  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override {
    return 0x11223344'55667700 + offset * 16 + width;
  }
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override {
    seen.push_back(offset * 0x1000000ULL + width * 0x100000ULL + value);
  }
  std::vector<std::uint64_t> seen;
};

TEST_CASE("the port bus routes, offsets and splits accesses") {
  Probe probe;
  Probe other;
  PortBus bus;
  bus.map(0x100, 4, probe);
  bus.map(0xa0, 2, other, 2);
  bus.map(0xffff, 1, other, 9);
  CHECK(bus.read(0x101, 2) == 0x0012);
  CHECK(bus.read(0xa1, 1) == 0x31);
  CHECK(bus.read(0xa1, 2) == 0xff31);
  CHECK(bus.read(0x102, 4) == 0xffff3121);
  CHECK(bus.read(0xff, 2) == 0x01ff);
  CHECK(bus.read(0x200, 4) == 0xffffffff);
  CHECK(bus.read(0xffff, 2) == 0xff91);  // does not wrap to port 0
  bus.write(0x103, 2, 0xbbaa);
  CHECK(probe.seen == std::vector<std::uint64_t>{0x31000aa});
  bus.write(0x100, 1, 0x1234);
  CHECK(probe.seen.back() == 0x100034);
}

TEST_CASE("the memory bus routes and splits accesses") {
  Probe probe;
  MmioBus bus;
  bus.map({0xfec00000}, 0x1000, probe);
  CHECK(bus.read({0xfec00010}, 4) == 0x55667804);
  CHECK(bus.read({0xfec00fff}, 2) == 0xfff1);
  CHECK(bus.read({0xfebffffc}, 8) == 0x31'21'11'01'ffffffff);
  CHECK(bus.read({0xdead0000}, 8) == ~std::uint64_t{0});
  CHECK(bus.read({~std::uint64_t{0}}, 4) == 0xffffffff);
  bus.write({0xfec00fff}, 4, 0xddccbbaa);
  CHECK(probe.seen == std::vector<std::uint64_t>{0xfff1000aaULL});
}

}  // namespace
}  // namespace chronovisor
