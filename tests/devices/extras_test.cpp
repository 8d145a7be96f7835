// Devices that a machine has when they are asked for: an event timer, and a printer's port.
#include "tests/devices/device_test_support.h"
#include "vmm/devices/legacy/parallel_port.h"
#include "vmm/devices/power/piix4_pm.h"
#include "vmm/devices/timer/hpet.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

struct SentMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t address, std::uint32_t data) override {
    sent.emplace_back(address, data);
  }
  std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

struct HpetBench final : Bench {
  SentMessages messages;
  Hpet hpet{clock, messages};
  HpetBench() {
    lines.wire(hpet);
    hpet.reset();
  }
  Device& device() override { return hpet; }
  std::uint64_t step(Random& random) override {
    constexpr std::array<std::uint64_t, 16> kRegisters{0x00,  0x10,  0x20,  0xf0,  0x100, 0x108,
                                                       0x110, 0x120, 0x128, 0x130, 0x140, 0x148,
                                                       0x150, 0x10,  0x100, 0x108};
    if (below(random, 3) == 0) random_pass(*this, random);
    const std::uint64_t at = kRegisters[below(random, kRegisters.size())];
    if (below(random, 2) == 0) return hpet.read_mmio(at, 8) + messages.sent.size() * 0;
    std::uint64_t value = random();
    if (at == 0x10) value &= 1;
    if (below(random, 2) == 0) value &= 0xffffff;
    if ((at & 0x1f) == 0 && at >= 0x100) value |= 0x4004;
    hpet.write_mmio(at + (below(random, 4) == 0 ? 4 : 0), below(random, 2) == 0 ? 4 : 8, value);
    return 0;
  }
};

struct ParallelBench final : PortsBench {
  ParallelPort port{output};
  ParallelBench() {
    lines.wire(port);
    place(port);
    port.reset();
  }
  Device& device() override { return port; }
  std::uint64_t step(Random& random) override {
    const auto at = static_cast<std::uint16_t>(0x378 + below(random, 3));
    if (below(random, 2) == 0) return in(at);
    out(at, static_cast<std::uint8_t>(random()));
    return 0;
  }
};

}  // namespace

TEST_CASE("round trip: event timer, parallel port") {
  check_round_trip([] { return std::make_unique<HpetBench>(); }, {"status"});
  check_round_trip([] { return std::make_unique<ParallelBench>(); }, {"irq"});
}

TEST_CASE("the event timer's counter goes with virtual time while it runs") {
  HpetBench bench;
  CHECK(bench.hpet.read_mmio(0x04, 4) == 10'000'000);  // femtoseconds a tick
  bench.clock.ns = 1000;
  CHECK(bench.hpet.read_mmio(0xf0, 8) == 0);
  bench.hpet.write_mmio(0x10, 4, 1);
  bench.clock.ns = 1995;
  CHECK(bench.hpet.read_mmio(0xf0, 8) == 99);
  bench.hpet.write_mmio(0x10, 4, 0);
  bench.clock.ns = 5000;
  CHECK(bench.hpet.read_mmio(0xf0, 4) == 99);
  bench.hpet.write_mmio(0xf0, 8, 0x1'0000'0000);
  CHECK(bench.hpet.read_mmio(0xf4, 4) == 1);
}

TEST_CASE("comparators send messages, once and again and again") {
  HpetBench bench;
  bench.hpet.write_mmio(0x110, 8, 0xfee00000'00000031);
  bench.hpet.write_mmio(0x100, 4, 0x4004);
  bench.hpet.write_mmio(0x108, 8, 100);
  bench.hpet.write_mmio(0x10, 4, 1);
  CHECK(bench.hpet.next_deadline_ns() == 1000);
  run_to(bench.clock, bench.hpet, 5000);
  REQUIRE(bench.messages.sent.size() == 1);
  CHECK(bench.messages.sent[0] == std::pair<std::uint64_t, std::uint32_t>{0xfee00000, 0x31});

  bench.hpet.write_mmio(0x120, 4, 0x404c);  // periodic; the value is set first
  bench.hpet.write_mmio(0x130, 8, 0xfee00000'00000032);
  bench.hpet.write_mmio(0x128, 8, 600);
  bench.hpet.write_mmio(0x128, 8, 50);
  run_to(bench.clock, bench.hpet, 7000);
  CHECK(bench.messages.sent.size() == 1 + 3);  // at 6000, 6500 and 7000
  // 32 bits wrap.
  bench.hpet.write_mmio(0x140, 4, 0x4104);
  bench.hpet.write_mmio(0x148, 8, 10);
  CHECK(bench.hpet.next_deadline_ns() <= 7500);
}

TEST_CASE("firmware tables say where the firmware puts the power management") {
  ManualClock clock;
  NoMessages messages;
  for (const std::uint16_t base : {kBiosPowerBase, kUefiPowerBase}) {
    Piix4Pm pm({0, 1, 3}, messages, clock, base);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    pm.declare(declaration);
    CHECK(facts.fixed.pm1a_control_port == base + 4);
    CHECK(facts.fixed.pm1a_event_port == base);
  }
}

TEST_CASE("the parallel port prints when the strobe falls, and acknowledges by an edge") {
  ParallelBench bench;
  for (const char letter : std::string("hi")) {
    bench.out(0x378, static_cast<std::uint8_t>(letter));
    bench.out(0x37a, 0x0d);
    bench.out(0x37a, 0x0c);
  }
  CHECK(bench.output.text == "hi");
  CHECK(bench.lines.rises == 0);
  CHECK((bench.in(0x379) & 0x80) != 0);  // not busy
  bench.out(0x37a, 0x1d);
  bench.out(0x37a, 0x1c);
  CHECK(bench.lines.rises == 1);
  CHECK_FALSE(bench.lines.level);
  CHECK(bench.in(0x378) == 'i');
}

}  // namespace chronovisor
