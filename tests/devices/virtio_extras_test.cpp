// A tablet, an entropy device and a console on virtio, as a driver of 1.0 brings them up.
#include <array>
#include <memory>
#include <string>

#include "tests/devices/disk_test_support.h"
#include "vmm/devices/virtio/virtio_console.h"
#include "vmm/devices/virtio/virtio_rng.h"
#include "vmm/devices/virtio/virtio_tablet.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint64_t kTable = 0x10000;
constexpr std::uint64_t kAvailable = 0x11000;
constexpr std::uint64_t kUsed = 0x12000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::uint64_t kQueueBytes = 0x4000;
constexpr std::uint16_t kWritable = 2;

/// A driver: memory, queues, and the device's registers.
struct Driver : DiskBench {
  MmioDevice* modern = nullptr;
  VirtioDevice* driven = nullptr;
  Device& device() override { return *driven; }

  void bring_up(VirtioDevice& made, unsigned queues) {
    driven = &made;
    lines.wire(made);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    made.declare(declaration);
    modern = declaration.memory_windows().back().device;
    made.reset();
    made.write_config(0x04, 2, 0x0007);
    modern->write_mmio(0x14, 1, 3);
    modern->write_mmio(0x08, 4, 1);
    modern->write_mmio(0x0c, 4, 1);
    modern->write_mmio(0x14, 1, 11);
    for (unsigned n = 0; n < queues; ++n) {
      modern->write_mmio(0x16, 2, n);
      modern->write_mmio(0x20, 8, kTable + n * kQueueBytes);
      modern->write_mmio(0x28, 8, kAvailable + n * kQueueBytes);
      modern->write_mmio(0x30, 8, kUsed + n * kQueueBytes);
      modern->write_mmio(0x1c, 2, 1);
    }
    modern->write_mmio(0x14, 1, 15);
  }
  void offer(unsigned queue, std::uint16_t n, std::uint64_t address, std::uint32_t length,
             std::uint16_t flags) {
    const std::uint64_t at = kTable + queue * kQueueBytes + 16 * std::uint64_t{n};
    put(at, address);
    put(at + 8, length);
    put(at + 12, flags);
    put(at + 14, std::uint16_t{0});
    const std::uint64_t available = kAvailable + queue * kQueueBytes;
    const auto index = get<std::uint16_t>(available + 2);
    put(available + 4 + 2 * (index % Virtqueue::kMostSize), n);
    put(available + 2, static_cast<std::uint16_t>(index + 1));
  }
  void notify(unsigned queue) { modern->write_mmio(0x3000 + 4 * queue, 2, queue); }
  [[nodiscard]] std::uint16_t used(unsigned queue) const {
    return get<std::uint16_t>(kUsed + queue * kQueueBytes + 2);
  }
  [[nodiscard]] std::uint32_t used_bytes(unsigned queue, unsigned n) const {
    return get<std::uint32_t>(kUsed + queue * kQueueBytes + 4 + 8 * n + 4);
  }
  std::uint64_t step(Random& /*random*/) override { return 0; }
};

struct TabletDriver final : Driver {
  VirtioTablet tablet{{0, 24, 0}, messages, bus};
  explicit TabletDriver(unsigned buffers = 64) {
    bring_up(tablet, 2);
    for (unsigned n = 0; n < buffers; ++n) {
      offer(0, static_cast<std::uint16_t>(n), kBuffers + 8 * std::uint64_t{n}, 8, kWritable);
    }
  }
  void point(const VirtioTablet::Pointer& pointer) {
    tablet.receive({InputKind::pointer, 0, VirtioTablet::payload_of(pointer)});
  }
  /// Type, code and value of event `n`.
  [[nodiscard]] std::array<std::uint32_t, 3> event(unsigned n) const {
    const std::uint64_t at = kBuffers + 8 * std::uint64_t{n};
    return {get<std::uint16_t>(at), get<std::uint16_t>(at + 2), get<std::uint32_t>(at + 4)};
  }
  /// How many bytes the configuration has for a question.
  [[nodiscard]] std::uint64_t ask(unsigned select, unsigned subselect) {
    modern->write_mmio(0x2000, 1, select);
    modern->write_mmio(0x2001, 1, subselect);
    return modern->read_mmio(0x2002, 1);
  }
};

using Event = std::array<std::uint32_t, 3>;

}  // namespace

TEST_CASE("a tablet says what it has") {
  TabletDriver driver;
  CHECK(driver.tablet.read_config(0x02, 2) == 0x1052);
  CHECK(driver.tablet.read_config(0x10, 4) == 0);  // no registers of drafts
  CHECK(driver.ask(0x01, 0) == 18);
  CHECK(driver.modern->read_mmio(0x2008, 4) == 0x6f726843);  // "Chro"
  CHECK(driver.ask(0x11, 3) == 1);
  CHECK(driver.modern->read_mmio(0x2008, 1) == 0x03);  // X and Y
  CHECK(driver.ask(0x11, 1) == 35);
  CHECK(driver.modern->read_mmio(0x2008 + 34, 1) == 0x1f);  // five buttons from 110H on
  CHECK(driver.ask(0x12, 1) == 20);
  CHECK(driver.modern->read_mmio(0x200c, 4) == VirtioTablet::kMost);
  CHECK(driver.ask(0x12, 9) == 0);
  CHECK(driver.ask(0x77, 0) == 0);
}

TEST_CASE("a tablet tells of places, buttons and the wheel, and of nothing twice") {
  TabletDriver driver;
  REQUIRE(driver.tablet.in_use());
  driver.point({.x = 1000, .y = 2000, .buttons = 1});
  CHECK(driver.event(0) == Event{3, 0, 1000});
  CHECK(driver.event(1) == Event{3, 1, 2000});
  CHECK(driver.event(2) == Event{1, 0x110, 1});
  CHECK(driver.event(3) == Event{0, 0, 0});
  CHECK(driver.used(0) == 4);
  CHECK(driver.lines.level);
  driver.point({.x = 1000, .y = 2000, .buttons = 0, .wheel = 1});
  CHECK(driver.event(4) == Event{1, 0x110, 0});
  CHECK(driver.event(5) == Event{2, 8, 0xffffffff});
  CHECK(driver.used(0) == 7);

  TabletDriver other;
  other.clock.ns = driver.clock.ns;
  load(other.tablet, save(driver.tablet));
  CHECK(save(other.tablet) == save(driver.tablet));
}

TEST_CASE("a tablet without buffers waits, and one without a driver drops") {
  TabletDriver driver(3);
  CHECK_FALSE(driver.tablet.has_room(InputKind::pointer));
  driver.point({.x = 1, .y = 2, .buttons = 31});  // more than there is room for
  CHECK(driver.used(0) == 3);
  driver.modern->write_mmio(0x14, 1, 0);
  CHECK(driver.tablet.has_room(InputKind::pointer));
  CHECK_FALSE(driver.tablet.in_use());
  driver.point({.x = 5, .y = 6});
  CHECK(driver.used(0) == 3);
  driver.tablet.receive({InputKind::pointer, 0, {1, 2}});  // no pointer at all
}

TEST_CASE("a status queue is taken and given back") {
  TabletDriver driver;
  driver.offer(1, 0, kBuffers + 0x1000, 8, 0);
  driver.offer(1, 1, kBuffers + 0x1000, 8, 0);
  driver.notify(1);
  CHECK(driver.used(1) == 2);
}

TEST_CASE("entropy comes from the seed, and the stream goes on") {
  const auto bytes_of = [](std::uint64_t seed) {
    Driver driver;
    VirtioRng rng(seed, {0, 23, 0}, driver.messages, driver.bus);
    driver.bring_up(rng, 1);
    driver.offer(0, 0, kBuffers, 16, kWritable);
    driver.offer(0, 1, kBuffers + 16, 16, kWritable);
    driver.offer(0, 2, kBuffers + 0x100, 0xffffffff, kWritable);  // 4 GiB: a part of it
    driver.notify(0);
    CHECK(driver.used(0) == 3);
    CHECK(driver.used_bytes(0, 0) == 16);
    CHECK(driver.used_bytes(0, 2) == 4096);
    return std::array{driver.get<std::uint64_t>(kBuffers),
                      driver.get<std::uint64_t>(kBuffers + 16)};
  };
  CHECK(bytes_of(7) == bytes_of(7));
  CHECK(bytes_of(7)[0] != bytes_of(8)[0]);
  CHECK(bytes_of(7)[0] != bytes_of(7)[1]);
}

TEST_CASE("a virtio console sends and receives") {
  Driver driver;
  VirtioConsole console({0, 22, 0}, driver.messages, driver.bus, driver.output);
  driver.bring_up(console, 2);
  const std::string said = "hello";
  (void)driver.ram.write({kBuffers}, as_bytes(said));
  driver.offer(1, 0, kBuffers, 5, 0);
  driver.offer(1, 1, kBuffers + 0x100000, 0xffffffff, 0);  // 4 GiB: a part of it
  driver.notify(1);
  CHECK(driver.output.text.substr(0, 5) == said);
  CHECK(driver.output.text.size() == 5 + 65536);
  CHECK_FALSE(console.has_room(InputKind::serial_byte));
  driver.offer(0, 0, kBuffers + 0x1000, 64, kWritable);
  CHECK(console.has_room(InputKind::serial_byte));
  console.receive({InputKind::serial_byte, 2, {'x'}});
  CHECK(driver.get<std::uint8_t>(kBuffers + 0x1000) == 'x');
  CHECK(driver.used_bytes(0, 0) == 1);
}

// A descriptor that names itself: the driver's mistake, and no loop of ours.
TEST_CASE("chains that loop break the queue and nothing else") {
  TabletDriver driver(0);
  driver.offer(0, 0, kBuffers, 8, kWritable | 1);
  for (unsigned n = 1; n < 16; ++n)
    driver.offer(0, static_cast<std::uint16_t>(n), kBuffers, 8, kWritable | 1);
  driver.point({.x = 1, .y = 2});
  CHECK_FALSE(driver.tablet.in_use());
  Driver other;
  VirtioRng rng(1, {0, 23, 0}, other.messages, other.bus);
  other.bring_up(rng, 1);
  other.offer(0, 0, kBuffers, 8, kWritable | 1);
  other.notify(0);
  CHECK(other.used(0) == 0);
}

}  // namespace chronovisor
