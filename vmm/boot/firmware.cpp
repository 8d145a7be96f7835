#include "vmm/boot/tables.h"

#include <array>

#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

void write_bios_data_area(Ram& ram) {
  constexpr std::uint64_t kSerialPorts = 0x400;
  constexpr std::uint64_t kEbdaSegment = 0x40e;
  constexpr std::uint64_t kBaseMemoryKib = 0x413;
  const auto write16 = [&](std::uint64_t address, std::uint32_t value) {
    ram.write({address}, std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(value),
                                                     static_cast<std::uint8_t>(value >> 8)});
  };
  write16(kSerialPorts, platform::kCom1Port);
  write16(kEbdaSegment, platform::kEbdaBegin >> 4);
  write16(kBaseMemoryKib, platform::kEbdaBegin / 1024);
  write16(platform::kEbdaBegin, (platform::kEbdaEnd - platform::kEbdaBegin) / 1024);
}

}  // namespace

void write_firmware_tables(Ram& ram) {
  ram.write({platform::kRsdpAddress}, acpi_tables());
  ram.write({platform::kMpTables}, mp_tables());
  write_bios_data_area(ram);
}

}  // namespace chronovisor
