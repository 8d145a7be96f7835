#include "vmm/boot/tables.h"

#include <array>

#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

void write_bios_data_area(Ram& ram, const FirmwareFacts& facts) {
  constexpr std::uint64_t kSerialPorts = 0x400;
  constexpr std::size_t kMostSerialPorts = 4;
  constexpr std::uint64_t kEbdaSegment = 0x40e;
  constexpr std::uint64_t kBaseMemoryKib = 0x413;
  const auto write16 = [&](std::uint64_t address, std::uint32_t value) {
    ram.write({address}, std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(value),
                                                     static_cast<std::uint8_t>(value >> 8)});
  };
  for (std::size_t n = 0; n < facts.serial_ports.size() && n < kMostSerialPorts; ++n) {
    write16(kSerialPorts + 2 * n, facts.serial_ports[n]);
  }
  write16(kEbdaSegment, platform::kEbdaBegin >> 4);
  write16(kBaseMemoryKib, platform::kEbdaBegin / 1024);
  write16(platform::kEbdaBegin, (platform::kEbdaEnd - platform::kEbdaBegin) / 1024);
}

}  // namespace

void write_firmware_tables(Ram& ram, const FirmwareFacts& facts) {
  ram.write({platform::kRsdpAddress}, acpi_tables(facts));
  ram.write({platform::kMpTables}, mp_tables(facts));
  write_bios_data_area(ram, facts);
}

}  // namespace chronovisor
