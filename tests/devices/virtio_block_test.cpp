// A virtio block device as drivers of both kinds program it, and what goes wrong: chains
// that loop, point outside, are too long or lead into other devices.
#include "vmm/devices/storage/virtio_block.h"

#include <array>
#include <memory>

#include "tests/devices/disk_test_support.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint64_t kSectors = 1000;
constexpr std::uint64_t kTable = 0x10000;
constexpr std::uint64_t kAvailable = 0x11000;
constexpr std::uint64_t kUsed = 0x12000;
constexpr std::uint64_t kHeader = 0x20000;
constexpr std::uint64_t kData = 0x30000;
constexpr std::uint64_t kStatus = 0x2f000;
constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWritable = 2;
constexpr std::uint16_t kIndirect = 4;

struct VirtioBench final : DiskBench {
  NumberedDisk* disk;
  std::unique_ptr<VirtioBlock> block;
  MmioDevice* modern = nullptr;
  PortDevice* legacy = nullptr;

  /// What is in memory is not the device's state.
  enum class Memory : std::uint8_t { empty, one_request };

  explicit VirtioBench(Memory memory = Memory::empty) {
    auto numbered = std::make_unique<NumberedDisk>(kSectors);
    disk = numbered.get();
    block = std::make_unique<VirtioBlock>(std::move(numbered), "virtio_disk0", "CV0",
                                          PciAddress{0, 4, 0}, messages, clock, bus);
    lines.wire(*block);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    block->declare(declaration);
    legacy = declaration.port_windows().at(0).device;
    modern = declaration.memory_windows().back().device;
    block->reset();
    block->write_config(0x04, 2, 0x0007);
    start();
    if (memory == Memory::empty) return;
    request(0, 5, 1024);
    put(kAvailable + 4, std::uint16_t{0});
    put(kAvailable + 2, std::uint16_t{1});
  }
  Device& device() override { return *block; }

  /// As a driver of 1.0 brings it up.
  void start() {
    modern->write_mmio(0x14, 1, 0);
    modern->write_mmio(0x14, 1, 3);
    modern->write_mmio(0x08, 4, 0);
    modern->write_mmio(0x0c, 4, VirtioDevice::kIndirectDescriptors);
    modern->write_mmio(0x08, 4, 1);
    modern->write_mmio(0x0c, 4, 1);
    modern->write_mmio(0x14, 1, 11);
    modern->write_mmio(0x16, 2, 0);
    modern->write_mmio(0x20, 8, kTable);
    modern->write_mmio(0x28, 8, kAvailable);
    modern->write_mmio(0x30, 4, kUsed);
    modern->write_mmio(0x34, 4, 0);
    modern->write_mmio(0x1c, 2, 1);
    modern->write_mmio(0x14, 1, 15);
  }
  void descriptor(unsigned n, std::uint64_t address, std::uint32_t length, std::uint16_t flags,
                  std::uint16_t next = 0, std::uint64_t table = kTable) {
    put(table + 16 * n, address);
    put(table + 16 * n + 8, length);
    put(table + 16 * n + 12, flags);
    put(table + 16 * n + 14, next);
  }
  void header(std::uint32_t type, std::uint64_t sector) {
    put(kHeader, type);
    put(kHeader + 4, std::uint32_t{0});
    put(kHeader + 8, sector);
  }
  /// Header, data, status, in descriptors 0 to 2.
  void request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes) {
    header(type, sector);
    descriptor(0, kHeader, 16, kNext, 1);
    descriptor(1, kData, bytes, type == 1 ? kNext : kNext | kWritable, 2);
    descriptor(2, kStatus, 1, kWritable);
    put(kStatus, std::uint8_t{0xee});
  }
  void offer(std::uint16_t head) {
    const auto index = get<std::uint16_t>(kAvailable + 2);
    put(kAvailable + 4 + 2 * (index % Virtqueue::kMostSize), head);
    put(kAvailable + 2, static_cast<std::uint16_t>(index + 1));
    modern->write_mmio(0x3000, 2, 0);
  }
  void pass(std::uint64_t ns = 1'000'000'000) { run_to(clock, *block, clock.ns + ns); }
  [[nodiscard]] std::uint8_t status() const {
    return static_cast<std::uint8_t>(modern->read_mmio(0x14, 1));
  }

  std::uint64_t step(Random& random) override {
    const auto offset = below(random, 0x38);
    switch (below(random, 9)) {
      case 0:
        return modern->read_mmio(offset, 1U << below(random, 3));
      case 1:
        modern->write_mmio(offset, 1U << below(random, 4), random() & 0xffff);
        return 0;
      case 2:
        return legacy->read_port(static_cast<std::uint16_t>(below(random, 80)), 1);
      case 3:
        legacy->write_port(static_cast<std::uint16_t>(below(random, 24)), 2,
                           static_cast<std::uint32_t>(random() & 0x7f));
        return 0;
      case 4:
        random_pass(*this, random);
        return status();
      case 5:
        return modern->read_mmio(0x1000, 1);
      case 6:
        block->write_config(static_cast<std::uint8_t>(0x04 + 4 * below(random, 40)), 4,
                            static_cast<std::uint32_t>(random() | 7));
        return 0;
      default:
        start();
        modern->write_mmio(0x3000, 2, 0);
        pass(below(random, 3) * 10'000);
        return status();
    }
  }
};

}  // namespace

TEST_CASE("a driver reads and writes sectors, and is interrupted when its request is done") {
  VirtioBench bench;
  bench.request(0, 7, 2048);
  bench.offer(0);
  CHECK(bench.get<std::uint8_t>(kStatus) == 0xee);
  CHECK(bench.block->next_deadline_ns() ==
        VirtioBlock::kCommandNs + (16 + 2048 + 1) * VirtioBlock::kNsPerByte);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  CHECK(bench.get<std::uint32_t>(kData) == 7);
  CHECK(bench.get<std::uint32_t>(kData + 3 * kSectorBytes) == 10);
  CHECK(bench.get<std::uint16_t>(kUsed + 2) == 1);
  CHECK(bench.get<std::uint32_t>(kUsed + 8) == 2049);
  CHECK(bench.lines.rises == 1);
  CHECK(bench.modern->read_mmio(0x1000, 1) == 1);
  CHECK_FALSE(bench.lines.level);

  bench.put(kData, std::uint32_t{0xfeedface});
  bench.request(1, 9, 512);
  bench.offer(0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  CHECK(bench.disk->last_sector == 9);
  CHECK(bench.disk->last_write.size() == 512);
  CHECK(bench.disk->last_write[0] == 0xce);
}

TEST_CASE("a driver of before 1.0 finds the same device") {
  VirtioBench bench;
  bench.legacy->write_port(18, 1, 0);
  CHECK(bench.legacy->read_port(20, 4) == kSectors);  // its configuration
  CHECK((bench.legacy->read_port(0, 4) >> 9 & 1) == 1);
  bench.legacy->write_port(18, 1, 3);
  bench.legacy->write_port(14, 2, 0);
  CHECK(bench.legacy->read_port(12, 2) == Virtqueue::kMostSize);
  bench.legacy->write_port(8, 4, kTable / kPageSize);
  bench.legacy->write_port(18, 1, 7);
  bench.request(0, 3, 512);
  const std::uint64_t available = kTable + 16 * Virtqueue::kMostSize;
  bench.put(available + 4, std::uint16_t{0});
  bench.put(available + 2, std::uint16_t{1});
  bench.legacy->write_port(16, 2, 0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  CHECK(bench.get<std::uint32_t>(kData) == 3);
  CHECK(bench.legacy->read_port(19, 1) == 1);
}

TEST_CASE("what the disk cannot do is the request's error") {
  VirtioBench bench;
  const auto status_of = [&](std::uint32_t type, std::uint64_t sector, std::uint32_t bytes) {
    bench.request(type, sector, bytes);
    bench.offer(0);
    bench.pass();
    return bench.get<std::uint8_t>(kStatus);
  };
  CHECK(status_of(0, kSectors - 1, 512) == 0);
  CHECK(status_of(0, kSectors, 512) == 1);
  CHECK(status_of(0, ~std::uint64_t{0}, 512) == 1);
  CHECK(status_of(0, 1, 100) == 1);
  CHECK(status_of(4, 0, 0) == 0);
  CHECK(status_of(99, 0, 512) == 2);
  bench.disk->bad_sector = 4;
  CHECK(status_of(0, 3, 1024) == 1);
  CHECK(status_of(8, 0, 20) == 0);
  CHECK(bench.get<std::uint8_t>(kData) == 'C');
  bench.disk->read_only_disk = true;
  CHECK(status_of(1, 3, 512) == 1);
  CHECK_FALSE(bench.disk->outside);
}

TEST_CASE("a chain that loops, or points out of its table, breaks the queue until a reset") {
  const auto broken = [](auto&& spoil) {
    VirtioBench bench;
    bench.request(0, 1, 512);
    spoil(bench);
    bench.offer(0);
    bench.pass();
    CHECK((bench.status() & 0x40) != 0);
    CHECK(bench.get<std::uint16_t>(kUsed + 2) == 0);
    bench.put(kAvailable + 2, std::uint16_t{0});
    bench.start();
    CHECK((bench.status() & 0x40) == 0);
    bench.request(0, 1, 512);
    bench.offer(0);
    bench.pass();
    CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  };
  broken([](VirtioBench& b) { b.descriptor(1, kData, 512, kNext | kWritable, 0); });
  broken([](VirtioBench& b) { b.descriptor(1, kData, 512, kNext | kWritable, 500); });
  broken([](VirtioBench& b) { b.descriptor(0, 0x40000, 8, kIndirect); });
  broken([](VirtioBench& b) { b.descriptor(0, 0x40000, 16, kIndirect | kNext, 1); });
  broken([](VirtioBench& b) {
    // A table in a table.
    b.descriptor(0, 0x40000, 16, kIndirect);
    b.descriptor(0, 0x40000, 16, kIndirect, 0, 0x40000);
  });
  broken([](VirtioBench& b) {
    b.put(kAvailable + 2, std::uint16_t{5000});
    b.modern->write_mmio(0x3000, 2, 0);
  });
}

TEST_CASE("an indirect table holds a request as well as the queue's own") {
  VirtioBench bench;
  bench.header(0, 11);
  bench.descriptor(0, 0x40000, 48, kIndirect);
  bench.descriptor(0, kHeader, 16, kNext, 1, 0x40000);
  bench.descriptor(1, kData, 512, kNext | kWritable, 2, 0x40000);
  bench.descriptor(2, kStatus, 1, kWritable, 0, 0x40000);
  bench.offer(0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  CHECK(bench.get<std::uint32_t>(kData) == 11);
}

TEST_CASE("segments of no bytes, of 4 GiB and over other devices do no harm") {
  VirtioBench bench;
  bench.header(0, 2);
  bench.descriptor(0, kHeader, 16, kNext, 1);
  bench.descriptor(1, kData, 0, kNext | kWritable, 2);
  bench.descriptor(2, kData, 512, kNext | kWritable, 3);
  bench.descriptor(3, kStatus, 1, kWritable);
  bench.offer(0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  bench.descriptor(2, kData, 0xffffffff, kNext | kWritable, 3);
  bench.offer(0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kStatus) == 1);
  // The APIC's page, the VGA window, the end of the address space: nobody takes it.
  for (const std::uint64_t address : {0xfee00000ULL, 0xa0000ULL, ~511ULL}) {
    bench.descriptor(2, address, 512, kNext | kWritable, 3);
    bench.offer(0);
    bench.pass();
    CHECK(bench.get<std::uint8_t>(kStatus) == 0);
  }
  CHECK_FALSE(bench.disk->outside);
}

TEST_CASE("virtio block: random traffic, and its state survives a round trip") {
  check_round_trip([] { return std::make_unique<VirtioBench>(VirtioBench::Memory::one_request); },
                   {"pci.config", "pci.intx", "pci.intx_asked", "msix.table", "msix.pending",
                    "queue0.size", "head"},
                   60);
}

TEST_CASE("virtio block: queues anywhere, and whatever lies there") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    VirtioBench bench;
    for (std::uint64_t at = kTable; at < kStatus; at += 8) {
      // Small numbers are indices, lengths and flags.
      bench.put(at, below(random, 2) == 0 ? random() & 0x0007'0003'0000'0fffULL : random());
    }
    for (unsigned n = 0; n < 60; ++n) {
      (void)bench.step(random);
      if (below(random, 4) == 0) {
        bench.modern->write_mmio(0x14, 1, 0);
        bench.modern->write_mmio(0x20, 8, random() & (below(random, 2) == 0 ? 0x1ffff0 : ~15ULL));
        bench.modern->write_mmio(0x28, 8, random() & (below(random, 2) == 0 ? 0x1ffff0 : ~15ULL));
        bench.modern->write_mmio(0x30, 8, random() & (below(random, 2) == 0 ? 0x1ffff0 : ~15ULL));
        bench.modern->write_mmio(0x1c, 2, 1);
        bench.modern->write_mmio(0x14, 1, 15);
        bench.modern->write_mmio(0x3000, 2, 0);
        random_pass(bench, random);
      }
    }
    CHECK_FALSE(bench.disk->outside);
  }
}

}  // namespace chronovisor
