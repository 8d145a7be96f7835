#include "vmm/boot/tables.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "vmm/boot/aml.h"
#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::size_t kHeaderSize = 36;
constexpr std::size_t kChecksumOffset = 9;

std::uint8_t checksum_of(ByteView bytes) {
  const unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0U);
  return static_cast<std::uint8_t>(0U - sum);
}

/// A table: the common header, then `body`.
/// Source: ACPI 5.2.6 "System Description Table Header".
Bytes table(std::string_view signature, std::uint8_t revision, const Bytes& body) {
  ByteWriter out;
  out.bytes(as_bytes(signature));
  out.integer(static_cast<std::uint32_t>(kHeaderSize + body.size()));
  out.integer(revision);
  out.integer(std::uint8_t{0});  // checksum, below
  out.bytes(as_bytes("CHRONO"));
  out.bytes(as_bytes("CHRONVSR"));
  out.integer(std::uint32_t{1});  // of the OEM table
  out.bytes(as_bytes("CHRV"));
  out.integer(std::uint32_t{1});  // of the table's creator
  out.bytes(body);
  Bytes bytes = out.take();
  bytes[kChecksumOffset] = checksum_of(bytes);
  return bytes;
}

Bytes isa_device(std::string_view path, std::string_view id, const Bytes& resources) {
  return aml::device(
      path, aml::sequence({aml::name("_HID", aml::eisa_id(id)), aml::name("_CRS", resources)}));
}

Bytes com1() {
  constexpr std::uint64_t kPresentEnabledShown = 0x0f;
  return aml::device(
      "COM1",
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(1)),
                     aml::name("_STA", aml::integer(kPresentEnabledShown)),
                     aml::name("_CRS", aml::resources({
                                           aml::io_ports(platform::kCom1Port, 8),
                                           aml::irq(platform::kCom1Irq),
                                       }))}));
}

Bytes host_bridge() {
  const Bytes windows = aml::resources({
      aml::bus_window(0, 0xff),
      aml::io_ports(platform::kPciConfigPort, 8),
      aml::io_window(0, platform::kPciConfigPort - 1),
      aml::io_window(platform::kPciConfigPort + 8, 0xffff),
      aml::memory_window(0xa0000, 0xbffff),
      aml::memory_window(platform::kPciWindowBegin, platform::kPciWindowEnd - 1),
  });
  return aml::device("PCI0", aml::sequence({
                                 aml::name("_HID", aml::eisa_id("PNP0A03")),
                                 aml::name("_UID", aml::integer(0)),
                                 aml::name("_CRS", windows),
                                 com1(),
                                 isa_device("RTC0", "PNP0B00",
                                            aml::resources({aml::io_ports(platform::kRtcPort, 2),
                                                            aml::irq(platform::kRtcIrq)})),
                                 isa_device("TIMR", "PNP0100",
                                            aml::resources({aml::io_ports(platform::kPitPort, 4),
                                                            aml::irq(platform::kTimerIrq)})),
                             }));
}

/// Source: ACPI 5.2.10 "Firmware ACPI Control Structure".
Bytes facs() {
  ByteWriter out;
  out.bytes(as_bytes("FACS"));
  out.integer(std::uint32_t{64});
  Bytes bytes = out.take();
  bytes.resize(64, 0);
  bytes[32] = 1;  // version
  return bytes;
}

void generic_address(ByteWriter& out, std::uint8_t bits, std::uint8_t access, std::uint64_t port) {
  constexpr std::uint8_t kSystemIo = 1;
  out.integer(kSystemIo);
  out.integer(bits);
  out.integer(std::uint8_t{0});  // bit offset
  out.integer(access);
  out.integer(port);
}

void no_address(ByteWriter& out) {
  for (int i = 0; i < 12; ++i) out.integer(std::uint8_t{0});
}

/// The part of the FADT that ACPI 1.0 had, up to the flags.
void legacy_fadt(ByteWriter& out, std::uint32_t facs_address, std::uint32_t dsdt_address) {
  constexpr std::uint16_t kC2Unsupported = 101;
  constexpr std::uint16_t kC3Unsupported = 1001;
  constexpr std::uint16_t kLegacyDevices = 1U << 0;
  constexpr std::uint16_t kHas8042 = 1U << 1;
  constexpr std::uint16_t kNoVga = 1U << 2;
  out.integer(facs_address);
  out.integer(dsdt_address);
  out.integer(std::uint8_t{0});
  out.integer(std::uint8_t{1});  // preferred profile: desktop
  out.integer(std::uint16_t{platform::kSciIrq});
  out.integer(std::uint32_t{platform::kSmiCommandPort});
  out.integer(platform::kSmiAcpiEnable);
  out.integer(platform::kSmiAcpiDisable);
  out.integer(std::uint16_t{0});  // S4BIOS_REQ, PSTATE_CNT
  out.integer(std::uint32_t{platform::kPm1aEventPort});
  out.integer(std::uint32_t{0});  // PM1b_EVT
  out.integer(std::uint32_t{platform::kPm1aControlPort});
  out.integer(std::uint64_t{0});  // PM1b_CNT, PM2_CNT
  out.integer(std::uint32_t{platform::kPmTimerPort});
  out.integer(std::uint32_t{platform::kGpe0Port});
  out.integer(std::uint32_t{0});  // GPE1
  out.integer(std::uint8_t{4});   // PM1_EVT_LEN
  out.integer(std::uint8_t{2});   // PM1_CNT_LEN
  out.integer(std::uint8_t{0});   // PM2_CNT_LEN
  out.integer(std::uint8_t{4});   // PM_TMR_LEN
  out.integer(platform::kGpe0Length);
  out.integer(std::uint16_t{0});  // GPE1_LEN, GPE1_BASE
  out.integer(std::uint8_t{0});   // CST_CNT
  out.integer(kC2Unsupported);
  out.integer(kC3Unsupported);
  out.integer(std::uint32_t{0});  // FLUSH_SIZE, FLUSH_STRIDE
  out.integer(std::uint16_t{0});  // DUTY_OFFSET, DUTY_WIDTH
  out.integer(std::uint16_t{0});  // DAY_ALRM, MON_ALRM
  out.integer(platform::kRtcCenturyRegister);
  out.integer(static_cast<std::uint16_t>(kLegacyDevices | kHas8042 | kNoVga));
  out.integer(std::uint8_t{0});
}

/// Source: ACPI 5.2.9 "Fixed ACPI Description Table".
Bytes fadt(std::uint32_t facs_address, std::uint32_t dsdt_address) {
  constexpr std::uint32_t kWbinvd = 1U << 0;
  constexpr std::uint32_t kC1 = 1U << 2;
  constexpr std::uint32_t kNoFixedSleepButton = 1U << 5;
  constexpr std::uint32_t kNoRtcWake = 1U << 6;
  constexpr std::uint32_t kResetRegister = 1U << 10;
  constexpr std::uint8_t kByteAccess = 1;
  constexpr std::uint8_t kWordAccess = 2;
  constexpr std::uint8_t kDwordAccess = 3;
  ByteWriter out;
  legacy_fadt(out, facs_address, dsdt_address);
  out.integer(kWbinvd | kC1 | kNoFixedSleepButton | kNoRtcWake | kResetRegister);
  generic_address(out, 8, kByteAccess, platform::kResetPort);
  out.integer(platform::kResetValue);
  out.integer(std::uint16_t{0});  // ARM_BOOT_ARCH
  out.integer(std::uint8_t{0});   // minor version
  out.integer(std::uint64_t{0});  // X_FIRMWARE_CTRL: the 32-bit one counts
  out.integer(std::uint64_t{dsdt_address});
  generic_address(out, 32, kWordAccess, platform::kPm1aEventPort);
  no_address(out);  // X_PM1b_EVT
  generic_address(out, 16, kWordAccess, platform::kPm1aControlPort);
  no_address(out);  // X_PM1b_CNT
  no_address(out);  // X_PM2_CNT
  generic_address(out, 32, kDwordAccess, platform::kPmTimerPort);
  generic_address(out, platform::kGpe0Length * 8, kByteAccess, platform::kGpe0Port);
  no_address(out);  // X_GPE1
  return table("FACP", 3, out.take());
}

/// Source: ACPI 5.2.12 "Multiple APIC Description Table".
Bytes madt() {
  constexpr std::uint32_t kPcatCompatible = 1;
  constexpr std::uint16_t kActiveHighLevel = 0x000d;
  constexpr std::uint8_t kAllProcessors = 0xff;
  ByteWriter out;
  out.integer(platform::kLocalApicBase);
  out.integer(kPcatCompatible);
  // Processor local APIC.
  out.integer(std::uint8_t{0});
  out.integer(std::uint8_t{8});
  out.integer(std::uint8_t{0});  // processor
  out.integer(platform::kLocalApicId);
  out.integer(std::uint32_t{1});  // enabled
  // I/O APIC.
  out.integer(std::uint8_t{1});
  out.integer(std::uint8_t{12});
  out.integer(platform::kIoApicId);
  out.integer(std::uint8_t{0});
  out.integer(platform::kIoApicBase);
  out.integer(std::uint32_t{0});  // its first GSI
  // Interrupt source overrides.
  const auto override_source = [&](std::uint8_t irq, std::uint32_t gsi, std::uint16_t flags) {
    out.integer(std::uint8_t{2});
    out.integer(std::uint8_t{10});
    out.integer(std::uint8_t{0});  // ISA
    out.integer(irq);
    out.integer(gsi);
    out.integer(flags);
  };
  override_source(platform::kTimerIrq, platform::kTimerGsi, 0);
  override_source(platform::kSciIrq, platform::kSciIrq, kActiveHighLevel);
  // Local APIC NMI.
  out.integer(std::uint8_t{4});
  out.integer(std::uint8_t{6});
  out.integer(kAllProcessors);
  out.integer(std::uint16_t{0});
  out.integer(std::uint8_t{1});  // LINT1
  return table("APIC", 1, out.take());
}

/// Source: ACPI 5.2.5.3 "Root System Description Pointer (RSDP) Structure".
Bytes rsdp(std::uint32_t rsdt_address, std::uint64_t xsdt_address) {
  ByteWriter out;
  out.bytes(as_bytes("RSD PTR "));
  out.integer(std::uint8_t{0});  // checksum of the first 20 bytes, below
  out.bytes(as_bytes("CHRONO"));
  out.integer(std::uint8_t{2});  // revision
  out.integer(rsdt_address);
  out.integer(std::uint32_t{36});
  out.integer(xsdt_address);
  out.integer(std::uint32_t{0});  // extended checksum, below, and 3 reserved bytes
  Bytes bytes = out.take();
  bytes[8] = checksum_of(ByteView(bytes).first(20));
  bytes[32] = checksum_of(bytes);
  return bytes;
}

}  // namespace

Bytes acpi_dsdt() {
  const Bytes soft_off =
      aml::package({aml::integer(platform::kSleepTypeS5), aml::integer(platform::kSleepTypeS5),
                    aml::integer(0), aml::integer(0)});
  return table("DSDT", 2,
               aml::sequence({aml::name("\\_S5_", soft_off), aml::scope("\\_SB_", host_bridge())}));
}

Bytes acpi_tables() {
  Bytes area(platform::kAcpiTables - platform::kRsdpAddress, 0);
  const auto append = [&](const Bytes& bytes) {
    constexpr std::size_t kAlignment = 16;
    area.resize((area.size() + kAlignment - 1) / kAlignment * kAlignment, 0);
    const auto address = static_cast<std::uint32_t>(platform::kRsdpAddress + area.size());
    area.insert(area.end(), bytes.begin(), bytes.end());
    return address;
  };
  const std::uint32_t facs_address = append(facs());
  const std::uint32_t dsdt_address = append(acpi_dsdt());
  const std::uint32_t fadt_address = append(fadt(facs_address, dsdt_address));
  const std::uint32_t madt_address = append(madt());
  ByteWriter narrow;
  ByteWriter wide;
  for (const std::uint32_t address : {fadt_address, madt_address}) {
    narrow.integer(address);
    wide.integer(std::uint64_t{address});
  }
  const std::uint32_t rsdt_address = append(table("RSDT", 1, narrow.data()));
  const std::uint32_t xsdt_address = append(table("XSDT", 1, wide.data()));
  const Bytes pointer = rsdp(rsdt_address, xsdt_address);
  std::copy(pointer.begin(), pointer.end(), area.begin());
  CHECK_THAT(platform::kRsdpAddress + area.size() <= platform::kMpTables,
             "the ACPI tables run into the MP tables");
  return area;
}

}  // namespace chronovisor
