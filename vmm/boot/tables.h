// Owns what firmware leaves in memory for the guest to find the hardware: ACPI
// and MP tables and the BIOS data area. Knows what the devices said of themselves,
// no device and no image. Plain functions; one thread a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "vmm/devices/core/firmware_facts.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

/// The ACPI tables as they lie in memory, from kRsdpAddress on: RSDP, FACS,
/// DSDT, FADT, MADT, RSDT, XSDT.
/// Source: ACPI specification 6.4, chapter 5.
Bytes acpi_tables(const FirmwareFacts& facts);

/// The ACPI tables but the RSDP, one after another.
struct AcpiPlacing {
  struct Pointer {
    std::uint32_t offset;  ///< in `area`
    std::uint8_t width;    ///< bytes
  };
  struct Checked {
    std::uint32_t offset;  ///< of a table, whose byte 9 is its checksum
    std::uint32_t size;
  };
  Bytes area;
  Bytes rsdp;
  std::vector<Pointer> pointers;  ///< addresses in the tables, of tables
  std::vector<Checked> checked;
};
/// @param base address of the area; @param head bytes that are kept free at its beginning
AcpiPlacing place_acpi_tables(const FirmwareFacts& facts, std::uint64_t base, std::size_t head);

/// The DSDT alone, header included.
Bytes acpi_dsdt(const FirmwareFacts& facts);

/// The MP floating pointer and configuration table as they lie in memory, from
/// kMpTables on.
/// Source: Intel MultiProcessor Specification 1.4, chapter 4.
Bytes mp_tables(const FirmwareFacts& facts);

/// Writes all tables and the BIOS data area's memory size, EBDA and serial ports.
void write_firmware_tables(Ram& ram, const FirmwareFacts& facts);

}  // namespace chronovisor
