// The ground that PCI functions stand on, behind the host bridge's mechanism.
#include "base/error.h"

#include "tests/devices/device_test_support.h"
#include "vmm/bus/bus.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/pci/pci_host.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint32_t kIdentity = 0x00;
constexpr std::uint32_t kCommand = 0x04;
constexpr std::uint32_t kBar0 = 0x10;
constexpr std::uint32_t kBar1 = 0x14;
constexpr std::uint32_t kBar2 = 0x18;
constexpr std::uint32_t kBar3 = 0x1c;
constexpr std::uint32_t kBar4 = 0x20;
constexpr std::uint32_t kMsi = 0x40;
constexpr std::uint32_t kMsix = 0x58;
constexpr std::uint32_t kIoSpace = 1;
constexpr std::uint32_t kMemorySpace = 2;
constexpr std::uint32_t kBusMaster = 4;
constexpr std::uint32_t kIntxDisable = 0x400;

struct RecordingMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t address, std::uint32_t data) override {
    sent.emplace_back(address, data);
  }
  std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

/// One of everything: I/O, 32-bit and 64-bit memory, INTB#, MSI, MSI-X.
class Sample final : public PciDevice, public PortDevice, public MmioDevice {
 public:
  explicit Sample(MessageInterrupts& messages)
      : PciDevice({.vendor = 0x1234,
                   .device = 0x5678,
                   .class_code = 0x010203,
                   .revision = 9,
                   .subsystem_vendor = 0xaaaa,
                   .subsystem = 0xbbbb},
                  {0, 5, 0}, messages) {
    add_io_bar(0, 0x20, *this);
    add_memory_bar(1, 0x1000, MemoryBar::bits32, *this);
    add_memory_bar(2, 0x4000, MemoryBar::bits64_prefetchable, *this);
    add_intx(2);
    add_msi(4);
    add_msix(4, 3);
  }
  [[nodiscard]] std::string_view name() const override { return "sample"; }
  std::uint32_t read_port(std::uint16_t offset, unsigned /*width*/) override { return offset; }
  void write_port(std::uint16_t /*o*/, unsigned /*width*/, std::uint32_t /*value*/) override {}
  std::uint64_t read_mmio(std::uint64_t offset, unsigned /*width*/) override { return offset; }
  void write_mmio(std::uint64_t /*o*/, unsigned /*width*/, std::uint64_t /*value*/) override {}
  using PciDevice::is_bus_master;
  using PciDevice::send_message;
  using PciDevice::set_intx;
};

/// The device plugged into a host bridge.
struct Plugged final : Bench {
  RecordingMessages messages;
  Sample sample{messages};
  PciHost host;
  PortBus ports;
  MmioBus memory;
  Plugged() {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    sample.declare(declaration);
    for (const auto& [address, function] : declaration.functions()) host.add(address, *function);
    for (const auto& [window, target] : declaration.port_windows()) ports.add(*window, *target);
    for (const auto& [window, target, precedence] : declaration.memory_windows()) {
      memory.add(*window, *target, precedence);
    }
    for (const auto& [pin, line] : declaration.pci_interrupts()) {
      lines.wires.push_back(std::make_unique<InterruptLine>());
      lines.wires.back()->add_sink(lines, line);
      lines.wires.back()->add_pin(*pin);
    }
    ports.map(0xcf8, 8, host);
    sample.reset();
  }
  std::uint32_t get(std::uint32_t offset) {
    ports.write(0xcf8, 4, 0x80002800 | offset);
    return ports.read(0xcfc, 4);
  }
  void put(std::uint32_t offset, std::uint32_t value, unsigned width = 4) {
    ports.write(0xcf8, 4, 0x80002800 | (offset & 0xfc));
    ports.write(static_cast<std::uint16_t>(0xcfc + (offset & 3)), width, value);
  }

  Device& device() override { return sample; }
  std::uint64_t step(Random& random) override {
    const auto offset = static_cast<std::uint32_t>(below(random, 0x70));
    switch (below(random, 6)) {
      case 0:
        sample.set_intx(below(random, 2) != 0);
        return 0;
      case 1:
        messages.sent.clear();
        sample.send_message(static_cast<unsigned>(random()));
        return messages.sent.size();
      case 2:
        put(offset & 0xfc, static_cast<std::uint32_t>(random()));
        return 0;
      case 3:
        put(kCommand, static_cast<std::uint32_t>(random()), 2);
        return 0;
      case 4:
        put(kBar4, 0xf0000000);
        memory.write({0xf0000000 + below(random, 0x100)}, 4, random());
        return memory.read({0xf0000000 + below(random, 0x100)}, 4);
      default:
        return get(offset & 0xfc);
    }
  }
};

TEST_CASE("a function is found, and says what it is and has") {
  Plugged pci;
  CHECK(pci.get(kIdentity) == 0x56781234);
  CHECK(pci.get(0x08) == 0x01020309);
  CHECK(pci.get(0x0c) == 0);
  CHECK(pci.get(0x2c) == 0xbbbbaaaa);
  CHECK(pci.get(0x3c) == 0x0200);  // INTB#
  CHECK(pci.get(kCommand) == 0x00100000);
  CHECK(pci.get(0x34) == kMsi);
  CHECK((pci.get(kMsi) & 0xffff) == (kMsix << 8 | 0x05));
  CHECK((pci.get(kMsix) & 0xffff) == 0x0011);
  pci.put(kIdentity, 0);
  pci.put(0x3c, 0xffff);
  CHECK(pci.get(kIdentity) == 0x56781234);
  CHECK(pci.get(0x3c) == 0x02ff);
}

TEST_CASE("BARs tell their size, and decode where and when the command register says") {
  Plugged pci;
  for (const std::uint32_t bar : {kBar0, kBar1, kBar2, kBar3, kBar4, 0x24U}) {
    pci.put(bar, 0xffffffff);
  }
  CHECK(pci.get(kBar0) == 0xffffffe1);
  CHECK(pci.get(kBar1) == 0xfffff000);
  CHECK(pci.get(kBar2) == 0xffffc00c);
  CHECK(pci.get(kBar3) == 0xffffffff);
  CHECK(pci.get(kBar4) == 0xfffff000);
  CHECK(pci.get(0x24) == 0);

  pci.put(kBar0, 0x1000);
  pci.put(kBar1, 0xe0000000);
  pci.put(kBar2, 0x00008000);
  pci.put(kBar3, 0x00000012);
  CHECK(pci.ports.read(0x1004, 1) == 0xff);
  CHECK(pci.memory.read({0xe0000010}, 4) == 0xffffffff);
  pci.put(kCommand, kIoSpace, 2);
  CHECK(pci.ports.read(0x1004, 1) == 0x04);
  CHECK(pci.memory.read({0xe0000010}, 4) == 0xffffffff);
  pci.put(kCommand, kIoSpace | kMemorySpace, 2);
  CHECK(pci.memory.read({0xe0000010}, 4) == 0x10);
  CHECK(pci.memory.read({0x12'00008020}, 4) == 0x20);
  pci.put(kBar1, 0xd0000000);
  CHECK(pci.memory.read({0xe0000010}, 4) == 0xffffffff);
  CHECK(pci.memory.read({0xd0000010}, 4) == 0x10);
  pci.put(kBar0, 0xfffffff0);  // beyond the ports there are
  CHECK(pci.ports.read(0x1004, 1) == 0xff);
}

TEST_CASE("INTx# follows the device, its disable bit and the choice of messages") {
  Plugged pci;
  constexpr std::uint32_t kInterruptStatus = 1U << 19;
  pci.sample.set_intx(true);
  // Device 5, INTB#: line (5 + 1) mod 4.
  CHECK(pci.lines.events == std::vector<std::uint64_t>{2 * 2 + 1});
  CHECK((pci.get(kCommand) & kInterruptStatus) != 0);
  pci.put(kCommand, kIntxDisable, 2);
  CHECK_FALSE(pci.lines.level);
  CHECK((pci.get(kCommand) & kInterruptStatus) != 0);  // it still asks
  pci.put(kCommand, 0, 2);
  CHECK(pci.lines.level);
  pci.put(kMsi + 2, 1, 2);
  CHECK_FALSE(pci.lines.level);
  pci.put(kMsi + 2, 0, 2);
  CHECK(pci.lines.level);
  pci.sample.set_intx(false);
  CHECK_FALSE(pci.lines.level);
  CHECK((pci.get(kCommand) & kInterruptStatus) == 0);
}

TEST_CASE("MSI sends what the driver wrote, and keeps what is masked") {
  Plugged pci;
  pci.put(kMsi + 4, 0xfee00003);
  pci.put(kMsi + 8, 0);
  pci.put(kMsi + 12, 0x4047, 2);
  pci.put(kMsi + 2, 0x0021, 2);  // enabled, four messages
  pci.sample.send_message(1);
  CHECK(pci.messages.sent.empty());  // not a bus master
  pci.put(kCommand, kBusMaster, 2);
  pci.sample.send_message(1);
  REQUIRE(pci.messages.sent.size() == 1);
  CHECK(pci.messages.sent[0] == std::pair<std::uint64_t, std::uint32_t>(0xfee00000, 0x4045));
  pci.put(kMsi + 16, 0xffffffff);
  CHECK(pci.get(kMsi + 16) == 0xf);
  pci.sample.send_message(2);
  CHECK(pci.messages.sent.size() == 1);
  CHECK(pci.get(kMsi + 20) == 4);
  pci.put(kMsi + 16, 0);
  REQUIRE(pci.messages.sent.size() == 2);
  CHECK(pci.messages.sent[1].second == 0x4046);
  CHECK(pci.get(kMsi + 20) == 0);
  pci.put(kMsi + 2, 0x0071, 2);  // more than there are: no more than there are
  pci.sample.send_message(3);
  CHECK(pci.messages.sent.back().second == 0x4047);
}

TEST_CASE("MSI-X has a table in memory, a mask a vector and one for all") {
  Plugged pci;
  CHECK((pci.get(kMsix) >> 16) == 2);        // three vectors
  CHECK(pci.get(kMsix + 4) == 4);            // table: BAR 4, offset 0
  CHECK(pci.get(kMsix + 8) == (0x40U | 4));  // pending bits behind it
  pci.put(kBar4, 0xf0000000);
  pci.put(kCommand, kMemorySpace | kBusMaster, 2);
  const auto entry = [&](unsigned n, std::uint32_t data, std::uint32_t control) {
    pci.memory.write({0xf0000000 + 16 * n}, 8, 0xfee01000);
    pci.memory.write({0xf0000008 + 16 * n}, 4, data);
    pci.memory.write({0xf000000c + 16 * n}, 4, control);
  };
  CHECK(pci.memory.read({0xf000001c}, 4) == 1);  // masked after reset
  entry(1, 0x55, 0);
  pci.put(kMsix + 2, 0xc000, 2);  // enabled, all masked
  pci.sample.send_message(1);
  CHECK(pci.messages.sent.empty());
  CHECK(pci.memory.read({0xf0000040}, 4) == 2);
  pci.put(kMsix + 2, 0x8000, 2);
  REQUIRE(pci.messages.sent.size() == 1);
  CHECK(pci.messages.sent[0] == std::pair<std::uint64_t, std::uint32_t>(0xfee01000, 0x55));
  CHECK(pci.memory.read({0xf0000040}, 4) == 0);
  pci.sample.send_message(2);
  CHECK(pci.messages.sent.size() == 1);
  pci.memory.write({0xf0000040}, 4, 0);  // pending bits are read-only
  entry(2, 0x66, 0xfffffffe);
  REQUIRE(pci.messages.sent.size() == 2);
  CHECK(pci.messages.sent[1].second == 0x66);
  CHECK(pci.memory.read({0xf000002c}, 4) == 0);
}

TEST_CASE("a PCI function's state survives a round trip") {
  check_round_trip([] { return std::make_unique<Plugged>(); }, {}, 60);
}

TEST_CASE("a restored PCI function decodes where it did") {
  Plugged first;
  first.put(kBar1, 0xe0000000);
  first.put(kCommand, kMemorySpace, 2);
  Plugged second;
  load(second.sample, save(first.sample));
  second.sample.state_restored();
  CHECK(second.memory.read({0xe0000010}, 4) == 0x10);
}

TEST_CASE("no state bytes change what a PCI function is") {
  Random random(11);
  Plugged first;
  const Bytes saved = save(first.sample);
  for (unsigned round = 0; round < 2000; ++round) {
    Bytes bytes = saved;
    for (unsigned n = 0; n < 20; ++n) {
      bytes[below(random, bytes.size())] = static_cast<std::uint8_t>(random());
    }
    Plugged second;
    try {
      load(second.sample, bytes);
    } catch (const Error&) {
      continue;
    }
    second.sample.state_restored();
    second.lines.state_restored();
    CHECK(second.get(kIdentity) == 0x56781234);
    CHECK((second.get(kBar1) & 0xfff) == 0);
    for (unsigned n = 0; n < 30; ++n) (void)second.step(random);
  }
}

}  // namespace
}  // namespace chronovisor
