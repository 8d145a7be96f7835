#include <doctest/doctest.h>

#include <map>
#include <numeric>

#include "base/hash.h"
#include "tests/boot/boot_images.h"
#include "vmm/boot/memory_plan.h"
#include "vmm/boot/platform.h"
#include "vmm/boot/table_loader.h"
#include "vmm/boot/tables.h"
#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/model/assembly.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

std::uint8_t sum(const Bytes& bytes) {
  return static_cast<std::uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0U));
}

std::string text(const Bytes& bytes, std::size_t offset, std::size_t size) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(offset),
          bytes.begin() + static_cast<std::ptrdiff_t>(offset + size)};
}

/// The table at an address, checked by its own length and checksum.
Bytes table_at(const Ram& ram, std::uint64_t address) {
  Bytes bytes = peek_bytes(ram, address, peek<std::uint32_t>(ram, address + 4));
  CHECK(sum(bytes) == 0);
  return bytes;
}

template <class T>
T field(const Bytes& bytes, std::size_t offset) {
  return ByteReader(ByteView(bytes).subspan(offset), "table").integer<T>();
}

/// What the devices of pc-1 say to firmware.
const FirmwareFacts& pc1_facts() {
  struct Nobody final : Clock, OutputSink, MachineControl {
    [[nodiscard]] VirtualTime now() const override { return {}; }
    void put(const Output& /*output*/) override {}
    void power_off(std::uint16_t /*port*/) override {}
    void reset_machine() override {}
    void debug_exit(std::uint32_t /*code*/, std::uint16_t /*port*/) override {}
  };
  static Nobody nobody;
  static Ram ram(kMiB);
  static DmaBus dma(ram);
  static PageSpace memory(ram);
  static UpperMemory upper(ram, [] {});
  static MediaPort media;
  static const Assembly board(
      pc1(), {nobody, nobody, nobody, dma, memory, upper, media, kMiB, 0, 0, ram, {}});
  return board.firmware();
}

Ram& with_tables(Ram& ram) {
  write_firmware_tables(ram, pc1_facts());
  return ram;
}

}  // namespace

TEST_CASE("the RSDP leads by RSDT and XSDT to the same tables") {
  Ram ram(kMiB);
  with_tables(ram);
  const Bytes rsdp = peek_bytes(ram, platform::kRsdpAddress, 36);
  CHECK(text(rsdp, 0, 8) == "RSD PTR ");
  CHECK(sum(Bytes(rsdp.begin(), rsdp.begin() + 20)) == 0);
  CHECK(sum(rsdp) == 0);
  CHECK(rsdp[15] == 2);
  const Bytes rsdt = table_at(ram, field<std::uint32_t>(rsdp, 16));
  const Bytes xsdt = table_at(ram, field<std::uint64_t>(rsdp, 24));
  CHECK(text(rsdt, 0, 4) == "RSDT");
  CHECK(text(xsdt, 0, 4) == "XSDT");
  REQUIRE(rsdt.size() == 36 + 2 * 4);
  REQUIRE(xsdt.size() == 36 + 2 * 8);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(field<std::uint32_t>(rsdt, 36 + 4 * i) == field<std::uint64_t>(xsdt, 36 + 8 * i));
  }
  CHECK(text(table_at(ram, field<std::uint32_t>(rsdt, 36)), 0, 4) == "FACP");
  CHECK(text(table_at(ram, field<std::uint32_t>(rsdt, 40)), 0, 4) == "APIC");
}

TEST_CASE("the FADT names the platform's ports and leads to DSDT and FACS") {
  Ram ram(kMiB);
  with_tables(ram);
  const auto rsdt = peek<std::uint32_t>(ram, platform::kRsdpAddress + 16);
  const Bytes fadt = table_at(ram, peek<std::uint32_t>(ram, rsdt + 36));
  REQUIRE(fadt.size() == 244);
  CHECK(field<std::uint16_t>(fadt, 46) == 9);
  CHECK(field<std::uint32_t>(fadt, 48) == 0xb2);
  CHECK(field<std::uint32_t>(fadt, 56) == 0x600);
  CHECK(field<std::uint32_t>(fadt, 64) == 0x604);
  CHECK(field<std::uint32_t>(fadt, 76) == 0x608);
  CHECK(field<std::uint32_t>(fadt, 80) == 0x620);
  CHECK(fadt[92] == 4);
  CHECK((field<std::uint32_t>(fadt, 112) & 1U << 10) != 0);
  CHECK(field<std::uint64_t>(fadt, 120) == 0xcf9);
  CHECK(fadt[128] == 6);
  CHECK(field<std::uint64_t>(fadt, 140) == field<std::uint32_t>(fadt, 40));
  CHECK(field<std::uint64_t>(fadt, 152) == 0x600);
  CHECK(field<std::uint64_t>(fadt, 176) == 0x604);
  CHECK(field<std::uint64_t>(fadt, 212) == 0x608);
  CHECK(field<std::uint64_t>(fadt, 224) == 0x620);
  const auto facs = field<std::uint32_t>(fadt, 36);
  CHECK(facs % 64 == 0);
  CHECK(text(peek_bytes(ram, facs, 64), 0, 4) == "FACS");
  const Bytes dsdt = table_at(ram, field<std::uint32_t>(fadt, 40));
  CHECK(dsdt == acpi_dsdt(pc1_facts()));
}

TEST_CASE("the tables of pc-1 never change") {
  // Guests of recordings have read them. Another board is another model.
  CHECK(hash128(acpi_tables(pc1_facts())).hex() == "6bffe2feff1177334bc0dadeb17e121d");
  CHECK(hash128(mp_tables(pc1_facts())).hex() == "c634fa78843799b4d87a4a364a8b23c4");
  Ram ram(kMiB);
  with_tables(ram);
  CHECK(hash128({ram.host(0), kMiB}).hex() == "dd00f954406bd50f97c3fd043f7091bb");
}

TEST_CASE("the DSDT says how to power off") {
  const Bytes dsdt = acpi_dsdt(pc1_facts());
  const Bytes soft_off{0x08, '\\', '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 5, 0x0a, 5, 0, 0};
  CHECK(Bytes(dsdt.begin() + 36, dsdt.begin() + 36 + 15) == soft_off);
}

TEST_CASE("the MADT's entries fill it exactly") {
  Ram ram(kMiB);
  with_tables(ram);
  const auto rsdt = peek<std::uint32_t>(ram, platform::kRsdpAddress + 16);
  const Bytes madt = table_at(ram, peek<std::uint32_t>(ram, rsdt + 40));
  CHECK(field<std::uint32_t>(madt, 36) == 0xfee00000);
  std::map<int, int> count;
  std::size_t at = 44;
  while (at < madt.size()) {
    REQUIRE(madt[at + 1] >= 2);
    ++count[madt[at]];
    at += madt[at + 1];
  }
  CHECK(at == madt.size());
  CHECK(count == std::map<int, int>{{0, 1}, {1, 1}, {2, 2}, {4, 1}});
}

TEST_CASE("the MP tables add up") {
  Ram ram(kMiB);
  with_tables(ram);
  const Bytes pointer = peek_bytes(ram, platform::kMpTables, 16);
  CHECK(text(pointer, 0, 4) == "_MP_");
  CHECK(sum(pointer) == 0);
  const auto address = field<std::uint32_t>(pointer, 4);
  const Bytes table = peek_bytes(ram, address, peek<std::uint16_t>(ram, address + 4));
  CHECK(text(table, 0, 4) == "PCMP");
  CHECK(sum(table) == 0);
  std::size_t at = 44;
  unsigned entries = 0;
  while (at < table.size()) {
    REQUIRE(table[at] <= 4);
    at += table[at] == 0 ? 20 : 8;
    ++entries;
  }
  CHECK(at == table.size());
  CHECK(entries == field<std::uint16_t>(table, 34));
}

TEST_CASE("the BIOS data area has memory size, EBDA and COM1") {
  Ram ram(kMiB);
  with_tables(ram);
  CHECK(peek<std::uint16_t>(ram, 0x400) == 0x3f8);
  CHECK(peek<std::uint16_t>(ram, 0x40e) == 0x9fc0);
  CHECK(peek<std::uint16_t>(ram, 0x413) == 639);
  CHECK(peek<std::uint8_t>(ram, 0x9fc00) == 1);
}

TEST_CASE("AML integers and lengths take their shortest form") {
  CHECK(aml::integer(0) == Bytes{0});
  CHECK(aml::integer(1) == Bytes{1});
  CHECK(aml::integer(2) == Bytes{0x0a, 2});
  CHECK(aml::integer(0x100) == Bytes{0x0b, 0, 1});
  CHECK(aml::integer(0x10000) == Bytes{0x0c, 0, 0, 1, 0});
  CHECK(aml::integer(1ULL << 32).size() == 9);
  CHECK(aml::eisa_id("PNP0A03") == Bytes{0x0c, 0x41, 0xd0, 0x0a, 0x03});
  // One, two and three bytes of PkgLength, counting themselves.
  CHECK(aml::scope("ABCD", Bytes(58, 0))[1] == 0x3f);
  const Bytes two = aml::scope("ABCD", Bytes(59, 0));
  CHECK(two[1] == 0x41);
  CHECK(two[2] == 0x04);
  CHECK(two.size() == 0x41 + 1);
  const Bytes three = aml::scope("ABCD", Bytes(0x1000, 0));
  CHECK(three[1] == 0x87);
  CHECK(three[2] == 0x00);
  CHECK(three[3] == 0x01);
  CHECK(three.size() == 0x1007 + 1);
}

TEST_CASE("the memory map ascends without overlaps and marks firmware reserved") {
  for (const std::uint64_t size : {kMiB, 16 * kMiB, 3072 * kMiB, 4096 * kMiB}) {
    CAPTURE(size);
    Ram ram(size);
    std::uint64_t end = 0;
    std::uint64_t usable = 0;
    for (const E820Entry& entry : e820_map(ram)) {
      CHECK(entry.base >= end);
      end = entry.base + entry.size;
      if (entry.type == E820Entry::kUsable) usable += entry.size;
    }
    CHECK(usable == size - kMiB + 0x9fc00);
  }
}

TEST_CASE("UEFI, which takes the byte of a sum for zero, comes to the right sums") {
  FirmwareFacts facts = pc1_facts();
  facts.fixed.pm1a_event_port = kUefiPowerBase;
  const AcpiFiles files = acpi_files(facts);
  constexpr std::size_t kCommandBytes = 128;
  constexpr std::uint32_t kAddChecksum = 3;
  std::size_t sums = 0;
  for (std::size_t at = 0; at < files.script.size(); at += kCommandBytes) {
    const Bytes command(files.script.begin() + static_cast<std::ptrdiff_t>(at),
                        files.script.begin() + static_cast<std::ptrdiff_t>(at + kCommandBytes));
    if (field<std::uint32_t>(command, 0) != kAddChecksum) continue;
    const bool root = text(command, 4, 13) == "etc/acpi/rsdp";
    CHECK((root ? files.rsdp : files.tables).at(field<std::uint32_t>(command, 60)) == 0);
    ++sums;
  }
  CHECK(sums >= 6);
}
