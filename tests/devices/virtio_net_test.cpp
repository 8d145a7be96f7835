// A virtio network card as a driver of 1.0 brings it up, and drivers that mean harm.
#include "vmm/devices/network/virtio_net.h"

#include <array>
#include <memory>

#include "tests/devices/disk_test_support.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr MacAddress kAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;
/// The parts of each queue, and its buffers.
constexpr std::array<std::uint64_t, 2> kTable{0x10000, 0x14000};
constexpr std::array<std::uint64_t, 2> kAvailable{0x11000, 0x15000};
constexpr std::array<std::uint64_t, 2> kUsed{0x12000, 0x16000};
constexpr std::array<std::uint64_t, 2> kBuffers{0x20000, 0x80000};
constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWritable = 2;
constexpr std::uint64_t kMergedBuffers = 1ULL << 15;
constexpr std::size_t kHeaderBytes = 12;

struct Frames final : OutputSink {
  explicit Frames(RecordingBytes& everything) : all(everything) {}
  void put(const Output& output) override {
    all.put(output);
    frames.emplace_back(output.payload.begin(), output.payload.end());
  }
  RecordingBytes& all;
  std::vector<Bytes> frames;
};

Bytes frame_of(std::size_t size) {
  Bytes frame(size);
  for (std::size_t n = 0; n < size; ++n) frame[n] = static_cast<std::uint8_t>(n * 7 + n / 256);
  return frame;
}

struct NetBench final : DiskBench {
  Frames sent{output};
  VirtioNet card{0, {0, 3, 0}, kAddress, messages, clock, bus, sent};
  MmioDevice* modern = nullptr;

  explicit NetBench(std::uint64_t features = kMergedBuffers) {
    lines.wire(card);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    card.declare(declaration);
    modern = declaration.memory_windows().back().device;
    card.reset();
    card.write_config(0x04, 2, 0x0007);
    start(features);
  }
  Device& device() override { return card; }

  void start(std::uint64_t features) {
    modern->write_mmio(0x14, 1, 0);
    modern->write_mmio(0x14, 1, 3);
    modern->write_mmio(0x08, 4, 0);
    modern->write_mmio(0x0c, 4, features & 0xffffffff);
    modern->write_mmio(0x08, 4, 1);
    modern->write_mmio(0x0c, 4, 1);
    modern->write_mmio(0x14, 1, 11);
    for (unsigned n = 0; n < 2; ++n) {
      modern->write_mmio(0x16, 2, n);
      modern->write_mmio(0x20, 8, kTable[n]);
      modern->write_mmio(0x28, 8, kAvailable[n]);
      modern->write_mmio(0x30, 8, kUsed[n]);
      modern->write_mmio(0x1c, 2, 1);
    }
    modern->write_mmio(0x14, 1, 15);
  }
  void descriptor(unsigned queue, unsigned n, std::uint64_t address, std::uint32_t length,
                  std::uint16_t flags, std::uint16_t next = 0) {
    const std::uint64_t at = kTable[queue] + 16 * n;
    put(at, address);
    put(at + 8, length);
    put(at + 12, flags);
    put(at + 14, next);
  }
  void offer(unsigned queue, std::uint16_t head) {
    const auto index = get<std::uint16_t>(kAvailable[queue] + 2);
    put(kAvailable[queue] + 4 + 2 * (index % Virtqueue::kMostSize), head);
    put(kAvailable[queue] + 2, static_cast<std::uint16_t>(index + 1));
  }
  void notify(unsigned queue) { modern->write_mmio(0x3000 + 4 * queue, 2, queue); }
  /// Buffers for what comes, of `bytes` each.
  void make_room(unsigned count, std::uint32_t bytes) {
    for (unsigned n = 0; n < count; ++n) {
      descriptor(kReceive, n, kBuffers[kReceive] + n * std::uint64_t{bytes}, bytes, kWritable);
      offer(kReceive, static_cast<std::uint16_t>(n));
    }
  }
  void send(const Bytes& frame) {
    Bytes whole(kHeaderBytes);
    whole.insert(whole.end(), frame.begin(), frame.end());
    (void)ram.write({kBuffers[kTransmit]}, whole);
    descriptor(kTransmit, 0, kBuffers[kTransmit], static_cast<std::uint32_t>(whole.size()), 0);
    offer(kTransmit, 0);
    notify(kTransmit);
  }
  void arrive(const Bytes& frame) { card.receive({InputKind::network_frame, 0, frame}); }
  [[nodiscard]] bool room() const { return card.has_room(InputKind::network_frame); }
  [[nodiscard]] std::uint16_t used(unsigned queue) const {
    return get<std::uint16_t>(kUsed[queue] + 2);
  }
  [[nodiscard]] Bytes memory(std::uint64_t address, std::size_t size) const {
    Bytes bytes(size);
    (void)ram.read({address}, bytes);
    return bytes;
  }
  [[nodiscard]] bool needs_reset() const { return (modern->read_mmio(0x14, 1) & 0x40) != 0; }

  std::uint64_t step(Random& random) override {
    const std::uint64_t offset = below(random, 0x1e);
    switch (below(random, 9)) {
      case 0:
        return modern->read_mmio(below(random, 0x38), 1U << below(random, 3));
      case 1:
        // Not where the queues are: what is there is not the card's state.
        modern->write_mmio(offset, 1U << below(random, 2), random() & (offset < 0x16 ? 0xff : 3));
        return 0;
      case 2:
        random_pass(*this, random);
        return 0;
      case 3:
        arrive(frame_of(below(random, 2000)));
        return room() ? 1 : 0;
      case 4:
        start(below(random, 2) == 0 ? kMergedBuffers : 0);
        modern->write_mmio(0x10, 2, offset & 3);
        modern->write_mmio(0x16, 2, offset & 1);
        modern->write_mmio(0x1a, 2, offset & 3);
        return 0;
      case 5:
        return modern->read_mmio(0x1000, 1);
      case 6:
        card.write_config(static_cast<std::uint8_t>(0x04 + 4 * below(random, 40)), 4,
                          static_cast<std::uint32_t>(random() | 7));
        return 0;
      default:
        notify(static_cast<unsigned>(below(random, 2)));
        return 0;
    }
  }
};

}  // namespace

TEST_CASE("a driver that maps no memory reaches a virtio device's registers by its configuration") {
  NetBench bench;
  const auto find = [&](std::uint8_t type) {
    for (unsigned at = bench.card.read_config(0x34, 1); at != 0;
         at = bench.card.read_config(static_cast<std::uint8_t>(at + 1), 1)) {
      const auto here = static_cast<std::uint8_t>(at);
      if (bench.card.read_config(here, 1) == 9 && bench.card.read_config(here + 3, 1) == type) {
        return here;
      }
    }
    return std::uint8_t{0};
  };
  CHECK(find(5) == 0);  // a recording of before has none, and its guest must not see one
  CHECK(find(2) != 0);
  bench.card.set_state_version(2);
  bench.card.reset();
  const std::uint8_t access = find(5);
  REQUIRE(access != 0);
  CHECK(bench.card.read_config(access + 2, 1) == 20);
  const auto choose = [&](unsigned bar, std::uint32_t offset, std::uint32_t length) {
    bench.card.write_config(access + 4, 1, bar);
    bench.card.write_config(access + 8, 4, offset);
    bench.card.write_config(access + 12, 4, length);
  };
  choose(4, 0x2000, 4);  // the first bytes of the card's address
  CHECK(bench.card.read_config(access + 16, 4) == 0x12005452);
  choose(4, 0x2004, 2);
  CHECK(bench.card.read_config(access + 16, 2) == 0x5634);
  choose(4, 0x16, 2);  // the queue that is meant
  bench.card.write_config(access + 16, 2, 1);
  CHECK(bench.modern->read_mmio(0x16, 2) == 1);
  // What is no register, or no way to ask for one, is nothing.
  for (const auto& [bar, offset, length] :
       {std::tuple{0U, 0x2000U, 4U}, std::tuple{4U, 0x2000U, 8U}, std::tuple{4U, 0x2001U, 2U},
        std::tuple{4U, 0x4000U, 4U}, std::tuple{4U, 0xfffffffcU, 4U},
        std::tuple{4U, 0x2000U, 0U}}) {
    choose(bar, offset, length);
    CHECK(bench.card.read_config(access + 16, 4) == 0);
    bench.card.write_config(access + 16, 4, 0xffffffff);
  }
  CHECK(bench.modern->read_mmio(0x16, 2) == 1);
}

TEST_CASE("a virtio card says its address and that its link is up") {
  NetBench bench;
  std::array<std::uint8_t, 8> bytes{};
  for (unsigned n = 0; n < bytes.size(); ++n) {
    bytes[n] = static_cast<std::uint8_t>(bench.modern->read_mmio(0x2000 + n, 1));
  }
  CHECK(std::equal(kAddress.begin(), kAddress.end(), bytes.begin()));
  CHECK(bytes[6] == 1);
}

TEST_CASE("what a driver sends goes out without its header, padded to a frame") {
  NetBench bench;
  bench.send(frame_of(100));
  REQUIRE(bench.sent.frames.size() == 1);
  CHECK(bench.sent.frames[0] == frame_of(100));
  CHECK(bench.used(kTransmit) == 1);
  CHECK(bench.lines.rises == 1);
  bench.send(frame_of(20));
  REQUIRE(bench.sent.frames.size() == 2);
  CHECK(bench.sent.frames[1].size() == kShortestFrameBytes);
  bench.send(frame_of(10));                      // no frame
  bench.send(frame_of(kLongestFrameBytes + 1));  // nor this
  CHECK(bench.sent.frames.size() == 2);
  CHECK(bench.used(kTransmit) == 4);
}

TEST_CASE("a burst is over when the line is full, and goes on when it is free") {
  NetBench bench;
  const Bytes frame = frame_of(1500);
  (void)bench.ram.write({kBuffers[kTransmit] + kHeaderBytes}, frame);
  for (std::uint16_t n = 0; n < 40; ++n) {
    bench.descriptor(kTransmit, n, kBuffers[kTransmit], 1500 + kHeaderBytes, 0);
    bench.offer(kTransmit, n);
  }
  bench.notify(kTransmit);
  CHECK(bench.sent.frames.size() == 11);  // 16 KiB with what is around frames
  CHECK(bench.card.next_deadline_ns() != kNever);
  run_to(bench.clock, bench.card, 1'000'000);
  CHECK(bench.sent.frames.size() == 40);
  CHECK(bench.used(kTransmit) == 40);
  CHECK(bench.card.next_deadline_ns() == kNever);
}

TEST_CASE("a frame that comes is stored behind its header, and the driver told") {
  NetBench bench;
  CHECK_FALSE(bench.room());
  bench.make_room(8, 2048);
  CHECK(bench.room());
  bench.arrive(frame_of(1000));
  CHECK(bench.used(kReceive) == 1);
  CHECK(bench.get<std::uint32_t>(kUsed[kReceive] + 8) == 1000 + kHeaderBytes);
  CHECK(bench.memory(kBuffers[kReceive], kHeaderBytes) ==
        Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0});
  CHECK(bench.memory(kBuffers[kReceive] + kHeaderBytes, 1000) == frame_of(1000));
  CHECK(bench.lines.level);
}

TEST_CASE("a long frame is spread over buffers, and the first says over how many") {
  NetBench bench;
  bench.make_room(8, 512);
  bench.arrive(frame_of(1400));
  CHECK(bench.used(kReceive) == 3);
  CHECK(bench.get<std::uint16_t>(kBuffers[kReceive] + 10) == 3);
  CHECK(bench.memory(kBuffers[kReceive] + kHeaderBytes, 1400) == frame_of(1400));
  CHECK(bench.get<std::uint32_t>(kUsed[kReceive] + 4 + 8 * 2 + 4) == 1412 - 1024);
}

TEST_CASE("a frame without room is gone, and the buffers stay the driver's") {
  NetBench merged;
  merged.make_room(2, 512);
  merged.arrive(frame_of(1400));
  CHECK(merged.used(kReceive) == 0);
  merged.arrive(frame_of(800));
  CHECK(merged.used(kReceive) == 2);

  NetBench plain(0);
  plain.make_room(2, 512);
  plain.arrive(frame_of(800));
  CHECK(plain.used(kReceive) == 0);
  CHECK_FALSE(plain.needs_reset());
}

TEST_CASE("before the driver is there, frames of any size are gone") {
  NetBench bench;
  bench.modern->write_mmio(0x14, 1, 0);
  CHECK(bench.room());
  for (const std::size_t size : {0U, 1U, 13U, 14U, 1514U, 65535U}) bench.arrive(frame_of(size));
  bench.start(kMergedBuffers);
  bench.make_room(128, 2048);
  for (const std::size_t size : {0U, 13U, 16385U, 65535U}) bench.arrive(frame_of(size));
  CHECK(bench.used(kReceive) == 0);
  bench.arrive(frame_of(kLongestFrameBytes));
  CHECK(bench.used(kReceive) == 9);
}

TEST_CASE("chains without end and out of the table stop the card until it is reset") {
  for (const unsigned queue : {kReceive, kTransmit}) {
    NetBench bench;
    bench.descriptor(queue, 0, kBuffers[queue], 0, kNext | (queue == kReceive ? kWritable : 0), 0);
    bench.offer(queue, 0);
    if (queue == kTransmit) {
      bench.notify(queue);
    } else {
      bench.arrive(frame_of(100));
    }
    CHECK(bench.needs_reset());
    bench.arrive(frame_of(100));
    bench.notify(kTransmit);
    CHECK(bench.sent.frames.empty());
  }
}

TEST_CASE("a virtio card's rings lie anywhere, and whatever is there ends nothing") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    NetBench bench(below(random, 2) == 0 ? kMergedBuffers : 0);
    // Small numbers are indices, lengths and flags.
    for (std::uint64_t at = 0; at < bench.ram.size(); at += 8 + 8 * below(random, 64)) {
      bench.put(at, below(random, 2) == 0 ? random() & 0x0007'0003'0000'0fffULL : random());
    }
    for (unsigned n = 0; n < 30; ++n) {
      bench.modern->write_mmio(0x14, 1, 0);
      bench.modern->write_mmio(0x14, 1, 11);
      for (unsigned queue = 0; queue < 2; ++queue) {
        bench.modern->write_mmio(0x16, 2, queue);
        for (const unsigned ring : {0x20U, 0x28U, 0x30U}) {
          // In memory, at its end, beyond it, and at the end of all addresses.
          constexpr std::array<std::uint64_t, 3> kMasks{0x3ffff0, 0xffff'ffff'fff0, ~15ULL};
          const std::uint64_t base = below(random, 4) == 0 ? bench.ram.size() - 16 : random();
          bench.modern->write_mmio(ring, 8, base & kMasks[below(random, 3)]);
        }
        bench.modern->write_mmio(0x1c, 2, 1);
      }
      bench.modern->write_mmio(0x14, 1, 15);
      bench.notify(kTransmit);
      bench.notify(kReceive);
      bench.arrive(frame_of(below(random, 2) == 0 ? 0 : below(random, 65'536)));
      random_pass(bench, random);
      (void)bench.room();
    }
    for (const Bytes& frame : bench.sent.frames) CHECK(frame.size() <= kLongestFrameBytes);
    // And a driver that starts anew has a card that works.
    bench.sent.frames.clear();
    (void)bench.ram.write({0}, Bytes(bench.ram.size()));
    bench.start(kMergedBuffers);
    bench.send(frame_of(100));
    random_pass(bench, random);
    CHECK_FALSE(bench.sent.frames.empty());
  }
}

TEST_CASE("who asks what a card wrote hears of frame and byte") {
  struct Watch final : DmaObserver {
    void device_wrote(const DmaWriter& writer, GuestPhysical address,
                      std::uint64_t /*size*/) override {
      if (writer.cause == nullptr) return;
      text = writer.cause->request_at(address.value + 54 - writer.into.value);
    }
    std::string text;
  };
  NetBench bench;
  Watch watch;
  bench.bus.set_observer(&watch);
  bench.make_room(8, 2048);
  bench.arrive(frame_of(100));
  bench.arrive(frame_of(100));
  CHECK(watch.text == "received frame 2, byte 54");
  CHECK(received_frame_of(watch.text) == 2);
  CHECK_FALSE(received_frame_of("READ DMA, LBA 2048").has_value());
}

TEST_CASE("a virtio card's state survives a round trip") {
  const auto make = [] {
    auto bench = std::make_unique<NetBench>();
    bench->make_room(100, 2048);
    for (std::uint16_t n = 0; n < 40; ++n) {
      bench->descriptor(kTransmit, n, kBuffers[kTransmit], 1500, 0);
      bench->offer(kTransmit, n);
    }
    return bench;
  };
  check_round_trip(make,
                   {"pci.config", "pci.intx", "pci.intx_asked", "msix.table", "msix.pending",
                    "queue0.size", "queue1.size"},
                   60);
}

}  // namespace chronovisor
