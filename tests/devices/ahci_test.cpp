// An AHCI controller as a driver programs it: command lists, queued commands, errors, and
// tables that cannot be meant.
#include "vmm/devices/storage/ahci.h"

#include <array>
#include <memory>
#include <vector>

#include "tests/devices/disk_test_support.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint64_t kSectors = 1000;
constexpr std::uint64_t kList = 0x10000;
constexpr std::uint64_t kFis = 0x11000;
constexpr std::uint64_t kTables = 0x20000;  // one every 4 KiB
constexpr std::uint64_t kData = 0x100000;
constexpr std::uint64_t kPort = 0x100;
constexpr std::uint32_t kTaskFileError = 1U << 30;

struct AhciBench final : DiskBench {
  NumberedDisk* disk;
  AhciController ahci{{0, 4, 0}, messages, clock, bus};
  MmioDevice* registers = nullptr;

  AhciBench() {
    ahci.set_state_version(2);
    auto numbered = std::make_unique<NumberedDisk>(kSectors);
    disk = numbered.get();
    ahci.attach(0, std::move(numbered), "CV0");
    lines.wire(ahci);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    ahci.declare(declaration);
    registers = declaration.memory_windows().at(0).device;
    ahci.reset();
    ahci.write_config(0x04, 2, 0x0006);
    start();
    standing();
  }
  Device& device() override { return ahci; }
  void write(std::uint64_t offset, std::uint32_t value) { registers->write_mmio(offset, 4, value); }
  [[nodiscard]] std::uint32_t read(std::uint64_t offset) {
    return static_cast<std::uint32_t>(registers->read_mmio(offset, 4));
  }
  void start() {
    write(0x04, 2);
    write(kPort + 0x00, kList);
    write(kPort + 0x08, kFis);
    write(kPort + 0x14, 0xffffffff);
    write(kPort + 0x18, 0x11);
  }
  /// Puts a command with one region into `slot`.
  void prepare(unsigned slot, std::uint8_t command, std::uint64_t lba, std::uint16_t count,
               std::uint32_t bytes, unsigned descriptors = 1) {
    const std::uint64_t table = kTables + 0x1000 * slot;
    put(kList + 32 * slot, static_cast<std::uint32_t>(5 | descriptors << 16));
    put(kList + 32 * slot + 4, std::uint32_t{0});
    put(kList + 32 * slot + 8, table);
    std::array<std::uint8_t, 20> fis{0x27, 0x80, command};
    for (unsigned n = 0; n < 3; ++n) fis[4 + n] = static_cast<std::uint8_t>(lba >> (8 * n));
    for (unsigned n = 0; n < 3; ++n) fis[8 + n] = static_cast<std::uint8_t>(lba >> (24 + 8 * n));
    fis[7] = 0x40;
    const bool queued = command == 0x60 || command == 0x61;
    fis[queued ? 3 : 12] = static_cast<std::uint8_t>(count);
    fis[queued ? 11 : 13] = static_cast<std::uint8_t>(count >> 8);
    if (queued) fis[12] = static_cast<std::uint8_t>(slot << 3);
    (void)ram.write({table}, fis);
    put(table + 0x80, kData + 0x10000 * slot);
    put(table + 0x88, std::uint32_t{0});
    put(table + 0x8c, bytes - 1);
  }
  void issue(unsigned slot, bool queued = false) {
    if (queued) write(kPort + 0x34, 1U << slot);
    write(kPort + 0x38, 1U << slot);
  }
  void pass() { run_to(clock, ahci, clock.ns + 1'000'000'000); }

  std::uint64_t step(Random& random) override {
    switch (below(random, 8)) {
      case 0:
        return read(below(random, 0x300) & ~3ULL);
      case 1: {
        // Where its lists are, and what is in them, is the same for all.
        constexpr std::array<std::uint64_t, 7> kWritten{
            0x04, 0x08, kPort + 0x10, kPort + 0x14, kPort + 0x18, kPort + 0x2c, kPort + 0x30};
        write(kWritten[below(random, kWritten.size())], static_cast<std::uint32_t>(random()));
        return 0;
      }
      case 2:
        random_pass(*this, random);
        return read(kPort + 0x20);
      case 3:
        write(kPort + 0x10, static_cast<std::uint32_t>(random()));
        write(0x08, 0xff);
        return 0;
      case 4:
        ahci.write_config(static_cast<std::uint8_t>(0x04 + 4 * below(random, 30)), 4,
                          static_cast<std::uint32_t>(random() | 6));
        return 0;
      default: {
        // Memory is not the device's state: the same commands, always there.
        start();
        const auto slot = static_cast<unsigned>(below(random, 4));
        issue(slot, slot >= 2);
        return read(kPort + 0x38);
      }
    }
  }
  void standing() {
    prepare(0, 0x25, 5, 2, 1024);
    prepare(1, 0xec, 0, 0, 512);
    prepare(2, 0x60, 9, 4, 2048);
    prepare(3, 0x61, kSectors, 1, 512);  // beyond the end
  }
};

}  // namespace

TEST_CASE("AHCI: a disk is there, and the other ports are empty") {
  AhciBench bench;
  CHECK(bench.read(kPort + 0x24) == 0x101);
  CHECK((bench.read(kPort + 0x28) & 0xf) == 3);
  CHECK((bench.read(kPort + 0x80 + 0x28) & 0xf) == 0);
  CHECK(bench.read(0x0c) == 0x3f);
  bench.prepare(0, 0xec, 0, 0, 512);
  bench.issue(0);
  bench.pass();
  CHECK(bench.read(kPort + 0x38) == 0);
  CHECK(bench.get<std::uint16_t>(kData + 2 * 75) == 31);
  CHECK(bench.get<std::uint32_t>(kData + 2 * 60) == kSectors);
  CHECK((bench.read(kPort + 0x10) & 2) != 0);  // by PIO
  CHECK(bench.get<std::uint8_t>(kFis + 0x20 + 15) == 0x50);
}

TEST_CASE("AHCI: sectors come and go by DMA, and the interrupt is held until it is taken") {
  AhciBench bench;
  bench.prepare(3, 0x25, 40, 3, 1536);
  bench.issue(3);
  CHECK(bench.ahci.next_deadline_ns() ==
        AhciController::kCommandNs + 1536 * AhciController::kNsPerByte);
  CHECK(bench.read(kPort + 0x38) == 8);
  bench.pass();
  CHECK(bench.read(kPort + 0x38) == 0);
  CHECK(bench.get<std::uint32_t>(kData + 0x30000) == 40);
  CHECK(bench.get<std::uint32_t>(kData + 0x30000 + 1024) == 42);
  CHECK(bench.get<std::uint32_t>(kList + 3 * 32 + 4) == 1536);
  CHECK(bench.lines.level);
  bench.write(kPort + 0x10, 0xffffffff);
  bench.write(0x08, 1);
  CHECK_FALSE(bench.lines.level);
  bench.put(kData, std::uint32_t{0xfeedface});
  bench.prepare(0, 0x35, 12, 1, 512);
  bench.issue(0);
  bench.pass();
  CHECK(bench.disk->last_sector == 12);
  CHECK(bench.disk->last_write[3] == 0xfe);
}

TEST_CASE("AHCI: a port is told of by a message also while another one's interrupt is not taken") {
  constexpr std::uint64_t kSecond = kPort + 0x80;
  const auto messages_sent = [](std::uint32_t state_version) {
    AhciBench bench;
    bench.ahci.set_state_version(state_version);
    bench.ahci.attach(1, std::make_unique<NumberedDisk>(kSectors), "CV1");
    bench.ahci.reset();
    bench.ahci.write_config(0x04, 2, 0x0006);
    bench.ahci.write_config(0x44, 4, 0xfee00000);
    bench.ahci.write_config(0x4c, 2, 0x0031);
    bench.ahci.write_config(0x42, 2, 1);
    bench.start();
    bench.write(kSecond + 0x00, kList);
    bench.write(kSecond + 0x08, kFis);
    bench.write(kSecond + 0x14, 0xffffffff);
    bench.write(kSecond + 0x18, 0x11);
    bench.prepare(0, 0x25, 5, 1, 512);
    std::vector<std::size_t> sent;
    const auto then = [&] { sent.push_back(bench.messages.sent.size()); };
    bench.issue(0);
    bench.pass();
    then();
    bench.write(kSecond + 0x38, 1);
    bench.pass();
    CHECK(bench.read(0x08) == 3);
    then();
    bench.write(kPort + 0x10, 0xffffffff);
    bench.write(0x08, 1);
    CHECK(bench.read(0x08) == 2);
    then();
    bench.write(kSecond + 0x10, 0xffffffff);
    bench.write(0x08, 2);
    CHECK(bench.read(0x08) == 0);
    then();
    return sent;
  };
  CHECK(messages_sent(2) == std::vector<std::size_t>{1, 2, 3, 3});
  // Machines of older recordings go on as they were.
  CHECK(messages_sent(1) == std::vector<std::size_t>{1, 1, 1, 1});
}

TEST_CASE("AHCI: queued commands end one by one, and a failed one stops the list") {
  AhciBench bench;
  for (unsigned slot = 0; slot < 3; ++slot) bench.prepare(slot, 0x60, 100 + slot, 1, 512);
  bench.write(kPort + 0x34, 7);
  bench.write(kPort + 0x38, 7);
  bench.pass();
  CHECK(bench.read(kPort + 0x34) == 0);
  CHECK(bench.get<std::uint32_t>(kData + 0x20000) == 102);
  CHECK((bench.read(kPort + 0x10) & 8) != 0);
  bench.disk->bad_sector = 101;
  bench.write(kPort + 0x34, 7);
  bench.write(kPort + 0x38, 7);
  bench.pass();
  CHECK((bench.read(kPort + 0x10) & kTaskFileError) != 0);
  CHECK((bench.read(kPort + 0x20) & 0x4001) == 0x4001);
  CHECK(bench.read(kPort + 0x34) != 0);
  // What a driver does then: stop, look into the log, go on.
  bench.write(kPort + 0x18, 0x10);
  CHECK(bench.read(kPort + 0x38) == 0);
  bench.write(kPort + 0x10, 0xffffffff);
  bench.write(kPort + 0x18, 0x11);
  bench.prepare(0, 0x2f, 0x10, 1, 512);
  bench.issue(0);
  bench.pass();
  CHECK(bench.get<std::uint8_t>(kData) == 1);  // the tag that failed
  std::uint8_t sum = 0;
  for (unsigned n = 0; n < 512; ++n) {
    sum = static_cast<std::uint8_t>(sum + bench.get<std::uint8_t>(kData + n));
  }
  CHECK(sum == 0);
}

TEST_CASE("AHCI: ranges beyond the disk, short tables and unknown commands are errors") {
  const auto error_of = [](auto&& prepare) {
    AhciBench bench;
    prepare(bench);
    bench.issue(0);
    bench.pass();
    CHECK_FALSE(bench.disk->outside);
    return (bench.read(kPort + 0x10) & kTaskFileError) != 0 ? bench.read(kPort + 0x20) >> 8 : 0;
  };
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, kSectors, 1, 512); }) == 0x10);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, kSectors - 1, 0, 512); }) == 0x10);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, 0xffffffffffff, 1, 512); }) == 0x10);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, 1, 4, 512); }) == 0x04);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, 1, 1, 512, 0); }) == 0x04);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0xff, 1, 1, 512); }) == 0x04);
  CHECK(error_of([](AhciBench& b) {
          b.prepare(0, 0x25, 1, 1, 512);
          b.put(kTables, std::uint8_t{0x99});  // no command at all
        }) == 0x04);
  // A region over the APIC and one of 4 MiB are the guest's affair.
  CHECK(error_of([](AhciBench& b) {
          b.prepare(0, 0x25, 1, 1, 512);
          b.put(kTables + 0x80, std::uint64_t{0xfee00000});
        }) == 0);
  CHECK(error_of([](AhciBench& b) { b.prepare(0, 0x25, 1, 900, 0x400000); }) == 0);
}

TEST_CASE("AHCI: random traffic, and its state survives a round trip") {
  std::set<std::string> constant{"pci.intx", "pci.intx_asked", "interrupt"};
  for (unsigned port = 1; port < AhciController::kPorts; ++port) {
    for (const char* field :
         {"clb", "fb", "is", "ie", "cmd", "tfd", "sctl", "serr", "sact", "ci", "signature", "slot",
          "last_slot", "busy", "due_ns", "started", "queued_error"}) {
      constant.insert("port" + std::to_string(port) + "." + field);
    }
  }
  constant.insert("port0.signature");
  check_round_trip([] { return std::make_unique<AhciBench>(); }, constant, 60);
}

TEST_CASE("AHCI: lists and tables anywhere, and whatever lies there") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    AhciBench bench;
    for (std::uint64_t at = kList; at < kData; at += 8) {
      bench.put(at, below(random, 2) == 0 ? random() & 0x0000'0001'0003'ffffULL : random());
    }
    for (unsigned slot = 0; slot < AhciController::kSlots; ++slot) {
      bench.prepare(slot, static_cast<std::uint8_t>(random()), random() & 0x7ff,
                    static_cast<std::uint16_t>(random()), static_cast<std::uint32_t>(random()),
                    static_cast<unsigned>(below(random, 65'536)));
    }
    for (unsigned n = 0; n < 60; ++n) {
      if (below(random, 3) == 0) bench.start();
      if (below(random, 6) == 0) {
        bench.write(kPort, static_cast<std::uint32_t>(random()));
        bench.write(kPort + 8, static_cast<std::uint32_t>(random()));
      }
      bench.write(kPort + 0x34, static_cast<std::uint32_t>(random()));
      bench.write(kPort + 0x38, static_cast<std::uint32_t>(random()));
      random_pass(bench, random);
    }
    CHECK_FALSE(bench.disk->outside);
  }
}

}  // namespace chronovisor
