// IDE drives at the ports of the AT, as a driver programs them: PIO, bus-master DMA,
// packets, and what goes wrong.
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/storage/ata_drive.h"
#include "vmm/devices/storage/atapi_drive.h"
#include "vmm/devices/storage/ide_controller.h"
#include "vmm/devices/storage/overlay_disk.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

constexpr std::uint64_t kSectors = 4096;

/// Sector n begins with n, four bytes little-endian.
class CountedMedia final : public MediaSource {
 public:
  [[nodiscard]] bool read_block(std::uint32_t /*medium*/, std::uint64_t block, Block out) override {
    ++reads;
    if (block == bad_block) return false;
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    for (unsigned n = 0; n < kMediumBlockBytes / kSectorBytes; ++n) {
      const auto number = static_cast<std::uint32_t>(block * 8 + n);
      std::memcpy(out.data() + n * kSectorBytes, &number, sizeof(number));
    }
    return true;
  }
  std::uint64_t bad_block = ~std::uint64_t{0};
  unsigned reads = 0;
};

/// The same sectors, whatever is written.
class UnchangingDisk final : public Disk {
 public:
  explicit UnchangingDisk(std::uint64_t sectors) : sectors_(sectors) {}
  [[nodiscard]] std::uint64_t sectors() const override { return sectors_; }
  [[nodiscard]] bool read_only() const override { return false; }
  DiskStatus read(std::uint64_t sector, std::span<std::uint8_t> out) override {
    for (std::size_t at = 0; at < out.size(); ++at) {
      out[at] = static_cast<std::uint8_t>(sector + at / 7);
    }
    return DiskStatus::done;
  }
  DiskStatus write(std::uint64_t /*sector*/, ByteView /*data*/) override {
    return DiskStatus::done;
  }

 private:
  std::uint64_t sectors_;
};

/// A controller with a disk as the primary's drive 0 and a CD as the secondary's.
struct IdeBench final : PortsBench {
  Ram ram{2 << 20};
  DmaBus bus{ram};
  NoMessages messages;
  CountedMedia image;
  PagedRegion written{"disk0.written", kSectors* kSectorBytes};
  PagedRegion map{"disk0.map", OverlayDisk::map_bytes(kSectors* kSectorBytes)};
  OverlayDisk disk{std::make_unique<MediumBlocks>(image, 0, kSectors* kSectorBytes), written, map};
  static constexpr AtapiDrive::Disc kDisc{1, 4000 * kSectorBytes};
  IdeController ide{{0, 1, 1}, messages, clock, bus};
  AtapiDrive* cd = nullptr;

  UnchangingDisk unchanging_disk{kSectors};
  enum class Contents : std::uint8_t { kept, unchanging };

  /// @param contents of the disks: a device's state alone does not hold them
  explicit IdeBench(Contents contents = Contents::kept) {
    const bool kept = contents == Contents::kept;
    Disk& first = kept ? static_cast<Disk&>(disk) : unchanging_disk;
    ide.channel(0).attach(0, std::make_unique<AtaDrive>(first, "CV0001"));
    auto drive = std::make_unique<AtapiDrive>(image, kDisc);
    cd = drive.get();
    ide.channel(1).attach(0, std::move(drive));
    lines.wire(ide);
    place(ide);
    ide.reset();
    ide.write_config(0x04, 2, 0x0005);
    ide.write_config(0x40, 4, 0x80008000);
    put_table(standing_table);
  }
  Device& device() override { return ide; }
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> standing_table{
      {0x4000, 1536}, {0x8000, 2048}, {0x10000, 0x80000000U | 4096}};

  void pass() { run_to(clock, ide, clock.ns + 10'000'000); }

  void command(std::uint16_t base, std::uint8_t code, std::uint32_t lba = 0,
               std::uint8_t count = 1) {
    out(base + 6, 0xe0 | (lba >> 24 & 15));
    out(base + 2, count);
    out(base + 3, lba & 0xff);
    out(base + 4, lba >> 8 & 0xff);
    out(base + 5, lba >> 16 & 0xff);
    out(base + 7, code);
  }
  std::vector<std::uint16_t> read_words(std::uint16_t base, unsigned count) {
    std::vector<std::uint16_t> words;
    for (unsigned n = 0; n < count; ++n) words.push_back(static_cast<std::uint16_t>(in(base, 2)));
    return words;
  }
  void packet(std::initializer_list<unsigned> bytes, std::uint16_t limit = 0xf800,
              std::uint8_t features = 0) {
    std::array<std::uint8_t, 12> packet{};
    unsigned at = 0;
    for (const unsigned byte : bytes) packet[at++] = static_cast<std::uint8_t>(byte);
    out(0x176, 0xa0);
    out(0x171, features);
    out(0x174, limit & 0xff);
    out(0x175, limit >> 8);
    out(0x177, 0xa0);
    for (unsigned n = 0; n < 12; n += 2) {
      out(0x170, packet[n] | static_cast<std::uint32_t>(packet[n + 1]) << 8, 2);
    }
    pass();
  }
  void put_table(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& table) {
    std::uint32_t at = 0x1000;
    for (const auto& [address, control] : table) {
      std::memcpy(ram.host(at), &address, 4);
      std::memcpy(ram.host(at + 4), &control, 4);
      at += 8;
    }
  }
  /// Regions of memory for the bus master of `channel`.
  void set_table(unsigned channel,
                 const std::vector<std::pair<std::uint32_t, std::uint32_t>>& table,
                 std::uint8_t direction) {
    put_table(table);
    for (unsigned n = 0; n < 4; ++n) {
      ide.channel(channel).write_bus_master(4 + n, static_cast<std::uint8_t>(0x1000U >> (8 * n)));
    }
    ide.channel(channel).write_bus_master(0, direction);
    ide.channel(channel).write_bus_master(2, 6);
  }
  [[nodiscard]] std::uint32_t ram32(std::uint32_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, ram.host(at), 4);
    return value;
  }

  std::uint64_t step(Random& random) override {
    const std::uint16_t base = below(random, 2) == 0 ? 0x1f0 : 0x170;
    constexpr std::array<std::uint8_t, 18> kCommands{0xec, 0x20, 0x30, 0xc8, 0xca, 0xc6,
                                                     0xc4, 0xc5, 0x24, 0x34, 0x25, 0x35,
                                                     0xa0, 0xa1, 0xef, 0x08, 0x91, 0xe7};
    switch (below(random, 14)) {
      case 0:
        command(
            base, kCommands[below(random, kCommands.size())],
            static_cast<std::uint32_t>(below(random, 8) == 0 ? random() : below(random, kSectors)),
            static_cast<std::uint8_t>(below(random, 20)));
        return in(base + 7);
      case 1:
        packet({static_cast<unsigned>(random() & 0xff), static_cast<unsigned>(below(random, 3)), 0,
                0, static_cast<unsigned>(below(random, 40)), 0, 0, 0,
                static_cast<unsigned>(below(random, 40)), 0});
        return in(0x177);
      case 2:
        packet({0x28, 0, 0, 0, 0, static_cast<unsigned>(below(random, 200)), 0, 0,
                static_cast<unsigned>(below(random, 5)), 0},
               0xf800, static_cast<std::uint8_t>(below(random, 2)));
        return in(0x177);
      case 3:
        random_pass(*this, random);
        return 0;
      case 4:
        for (unsigned n = 0; n < 200; ++n) out(base, static_cast<std::uint32_t>(random()), 4);
        return 0;
      case 5: {
        std::uint64_t sum = 0;
        for (unsigned n = 0; n < 300; ++n) sum = sum * 31 + in(base, 2);
        return sum;
      }
      case 6:
        // Memory is not the device's state: one table, always there.
        set_table(static_cast<unsigned>(below(random, 2)), standing_table,
                  static_cast<std::uint8_t>(below(random, 2) * 8 + below(random, 2)));
        return 0;
      case 7:
        out(base + 0x206, static_cast<std::uint32_t>(random() & 0x86));
        return in(base + 0x206);
      case 8:
        if (below(random, 6) == 0)
          cd->change(below(random, 2) == 0 ? AtapiDrive::Disc{} : kDisc, AtapiDrive::Force::yes);
        return cd->locked();
      case 9: {
        constexpr std::array<unsigned, 8> kPackets{0x1b, 0x1e, 0x28, 0x28, 0x46, 0x4a, 0x5a, 0x43};
        const unsigned code = kPackets[below(random, kPackets.size())];
        const auto four = static_cast<unsigned>(below(random, 4));
        const bool read = code == 0x28;
        packet({code, read ? 0U : 1U, read ? 0U : 0x3fU, 0, read ? 0U : four, 9, 0, 0,
                static_cast<unsigned>(1 + below(random, 90)), 0},
               static_cast<std::uint16_t>(2048 << below(random, 4)));
        return in(0x177);
      }
      case 10:
        out(base + 1, 3);
        command(base, 0xef, 0, static_cast<std::uint8_t>(random() & 0x47));
        return in(base + 7);
      default:
        if (below(random, 2) == 0) {
          out(static_cast<std::uint16_t>(base + 1 + below(random, 6)),
              static_cast<std::uint32_t>(random() & 0xff));
          return 0;
        }
        return in(static_cast<std::uint16_t>(base + 1 + below(random, 7)));
    }
  }
};

TEST_CASE("a disk says what it is") {
  IdeBench bench;
  bench.command(0x1f0, 0xec);
  CHECK((bench.in(0x3f6) & kIdeBusy) != 0);
  CHECK(bench.lines.rises == 0);
  bench.pass();
  CHECK(bench.lines.rises == 1);
  CHECK(bench.in(0x1f7) == (kIdeReady | kIdeSeekComplete | kIdeDataRequest));
  const auto words = bench.read_words(0x1f0, 256);
  CHECK((words[60] | words[61] << 16) == kSectors);
  CHECK((words[49] & 0x0300) == 0x0300);
  CHECK(words[10] == ('C' << 8 | 'V'));
  CHECK((bench.in(0x1f7) & kIdeDataRequest) == 0);
}

TEST_CASE("sectors read by PIO come one interrupt each") {
  IdeBench bench;
  bench.command(0x1f0, 0x20, 77, 3);
  for (std::uint32_t n = 0; n < 3; ++n) {
    bench.pass();
    CHECK(bench.lines.rises == n + 1);
    CHECK((bench.in(0x1f7) & kIdeDataRequest) != 0);
    const auto words = bench.read_words(0x1f0, 256);
    CHECK((words[0] | static_cast<std::uint32_t>(words[1]) << 16) == 77 + n);
  }
  bench.pass();
  CHECK(bench.lines.rises == 3);
  CHECK(bench.in(0x1f7) == (kIdeReady | kIdeSeekComplete));
  CHECK(bench.in(0x1f3) == 79);
}

TEST_CASE("what is written is read back, and the image stays as it was") {
  IdeBench bench;
  bench.command(0x1f0, 0x30, 9, 1);
  CHECK((bench.in(0x1f7) & kIdeDataRequest) != 0);
  for (unsigned n = 0; n < 128; ++n) bench.out(0x1f0, 0x01010101U * (n & 0xff), 4);
  CHECK(bench.lines.rises == 0);
  bench.pass();
  CHECK(bench.lines.rises == 1);
  bench.command(0x1f0, 0x20, 9, 1);
  bench.pass();
  CHECK(bench.in(0x1f0, 4) == 0);
  CHECK(bench.in(0x1f0, 4) == 0x01010101);
  std::array<std::uint8_t, 4 * kSectorBytes> around{};
  REQUIRE(bench.disk.read(8, around) == DiskStatus::done);
  CHECK(around[0] == 8);  // its neighbours are the image's
  CHECK(around[2 * kSectorBytes] == 10);
  CHECK(bench.written.dirty_pages() == std::vector<std::uint32_t>{1});
}

TEST_CASE("the bus master moves sectors along its table") {
  IdeBench bench;
  bench.set_table(0, {{0x4000, 512}, {0x9000, 0x80000000U | 1024}}, 8);
  bench.command(0x1f0, 0xc8, 100, 3);
  bench.ide.channel(0).write_bus_master(0, 9);
  bench.pass();
  CHECK(bench.ram32(0x4000) == 100);
  CHECK(bench.ram32(0x9000) == 101);
  CHECK(bench.ram32(0x9200) == 102);
  CHECK(bench.lines.rises == 1);
  CHECK((bench.ide.channel(0).read_bus_master(2) & 7) == 4);

  // And the other way.
  std::memset(bench.ram.host(0x4000), 0xee, 512);
  bench.set_table(0, {{0x4000, 0x80000000U | 512}}, 0);
  bench.command(0x1f0, 0xca, 200, 1);
  bench.ide.channel(0).write_bus_master(0, 1);
  bench.pass();
  std::array<std::uint8_t, kSectorBytes> sector{};
  REQUIRE(bench.disk.read(200, sector) == DiskStatus::done);
  CHECK(sector[511] == 0xee);
}

TEST_CASE("a table that is too short is an error and no more is written") {
  IdeBench bench;
  bench.set_table(0, {{0x4000, 0x80000000U | 512}}, 8);
  bench.ide.channel(0).write_bus_master(0, 9);
  bench.command(0x1f0, 0xc8, 0, 8);
  bench.pass();
  CHECK((bench.ide.channel(0).read_bus_master(2) & 2) != 0);
  CHECK((bench.in(0x1f7) & kIdeError) != 0);
  CHECK(bench.ram32(0x4200) == 0);
}

TEST_CASE("a range beyond the disk is refused") {
  IdeBench bench;
  bench.command(0x1f0, 0x20, kSectors - 1, 2);
  bench.pass();
  CHECK((bench.in(0x1f7) & kIdeError) != 0);
  CHECK(bench.in(0x1f1) == kIdeIdNotFound);
}

TEST_CASE("a refused range is no state that a restore would change") {
  for (const unsigned code : {0x20U, 0x24U, 0x25U, 0x30U, 0x34U, 0xc8U, 0xcaU, 0x40U}) {
    CAPTURE(code);
    IdeBench b(IdeBench::Contents::unchanging);
    b.command(0x1f0, 0x20, 3);
    b.pass();
    b.read_words(0x1f0, 256);
    b.command(0x1f0, static_cast<std::uint8_t>(code), 0xfffffff, 255);
    b.pass();
    REQUIRE((b.in(0x1f7) & 0x01) == 0x01);
    IdeBench restored(IdeBench::Contents::unchanging);
    const Bytes saved = save(b.ide);
    load(restored.ide, saved);
    CHECK(save(restored.ide) == saved);
  }
}

TEST_CASE("an image that cannot be read is the guest's error") {
  IdeBench bench;
  bench.image.bad_block = 2;
  bench.command(0x1f0, 0x20, 16, 1);
  bench.pass();
  CHECK((bench.in(0x1f7) & kIdeError) != 0);
  CHECK(bench.in(0x1f1) == kIdeUncorrectable);
}

TEST_CASE("a software reset shows which kind of drive there is") {
  IdeBench bench;
  bench.out(0x3f6, 4);
  bench.out(0x3f6, 0);
  bench.out(0x376, 4);
  bench.out(0x376, 0);
  CHECK(bench.in(0x1f4) == 0);
  CHECK(bench.in(0x1f5) == 0);
  CHECK(bench.in(0x174) == 0x14);
  CHECK(bench.in(0x175) == 0xeb);
  bench.out(0x1f6, 0xb0);  // there is no second drive
  CHECK(bench.in(0x1f7) == 0);
}

TEST_CASE("a CD gives its capacity and its blocks, by PIO and by DMA") {
  IdeBench bench;
  bench.packet({0x25});
  CHECK((bench.in(0x177) & kIdeDataRequest) != 0);
  CHECK(bench.in(0x174) == 8);
  auto words = bench.read_words(0x170, 4);
  CHECK(words[1] == static_cast<std::uint16_t>((999 & 0xff) << 8 | 999 >> 8));
  bench.pass();

  bench.packet({0x28, 0, 0, 0, 0, 3, 0, 0, 1});
  words = bench.read_words(0x170, 1024);
  CHECK(words[0] == 12);  // four sectors a block
  bench.pass();
  CHECK((bench.in(0x172) & 3) == 3);

  bench.set_table(1, {{0x6000, 0x80000000U | 4096}}, 8);
  bench.ide.channel(1).write_bus_master(0, 9);
  bench.packet({0x28, 0, 0, 0, 0, 5, 0, 0, 2}, 0, 1);
  CHECK(bench.ram32(0x6000) == 20);
  CHECK(bench.ram32(0x6800) == 24);
}

TEST_CASE("another disc is told once, by a unit attention") {
  IdeBench bench;
  bench.cd->change({}, AtapiDrive::Force::no);
  bench.packet({0x00});
  CHECK((bench.in(0x177) & kIdeError) != 0);
  CHECK((bench.in(0x171) >> 4) == 2);  // not ready
  bench.cd->change(IdeBench::kDisc, AtapiDrive::Force::no);
  bench.packet({0x00});
  CHECK((bench.in(0x171) >> 4) == 6);  // unit attention
  bench.packet({0x00});
  CHECK((bench.in(0x177) & kIdeError) == 0);
}

TEST_CASE("a packet that no drive knows ends with a check condition that is explained") {
  IdeBench bench;
  bench.packet({0xee});
  CHECK((bench.in(0x177) & kIdeError) != 0);
  bench.packet({0x03, 0, 0, 0, 18});
  const auto words = bench.read_words(0x170, 9);
  CHECK((words[1] & 0x0f) == 5);  // illegal request
  CHECK((words[6] & 0xff) == 0x20);
}

TEST_CASE("a request for more than a disc has is refused") {
  IdeBench bench;
  bench.packet({0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff});
  CHECK((bench.in(0x171) >> 4) == 5);
}

TEST_CASE("IDE keeps its state through a round trip, in the middle of anything") {
  check_round_trip(
      []() -> std::unique_ptr<Bench> {
        return std::make_unique<IdeBench>(IdeBench::Contents::unchanging);
      },
      {"pci.config", "pci.intx", "pci.intx_asked"}, 60);
}

}  // namespace
}  // namespace chronovisor
