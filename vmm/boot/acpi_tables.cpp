#include "vmm/boot/tables.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "vmm/boot/platform.h"
#include "vmm/devices/core/aml.h"

namespace chronovisor {

namespace {

constexpr std::uint32_t kHeaderSize = 36;
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

/// The devices of the namespace, within the host bridge if there is one.
Bytes devices(const FirmwareFacts& facts) {
  Bytes inner;
  for (const FirmwareFacts::NamespaceEntry& entry : facts.devices) {
    const Bytes term = aml::device(entry.name, entry.terms);
    inner.insert(inner.end(), term.begin(), term.end());
  }
  if (!facts.host_bridge) return inner;
  return aml::device(facts.host_bridge->name, aml::sequence({facts.host_bridge->terms, inner}));
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
void legacy_fadt(ByteWriter& out, const FirmwareFacts::FixedHardware& fixed,
                 std::uint32_t facs_address, std::uint32_t dsdt_address) {
  constexpr std::uint16_t kC2Unsupported = 101;
  constexpr std::uint16_t kC3Unsupported = 1001;
  constexpr std::uint16_t kLegacyDevices = 1U << 0;
  constexpr std::uint16_t kHas8042 = 1U << 1;
  constexpr std::uint16_t kNoVga = 1U << 2;
  out.integer(facs_address);
  out.integer(dsdt_address);
  out.integer(std::uint8_t{0});
  out.integer(std::uint8_t{1});  // preferred profile: desktop
  out.integer(std::uint16_t{fixed.sci_irq});
  out.integer(std::uint32_t{fixed.smi_command_port});
  out.integer(fixed.acpi_enable);
  out.integer(fixed.acpi_disable);
  out.integer(std::uint16_t{0});  // S4BIOS_REQ, PSTATE_CNT
  out.integer(std::uint32_t{fixed.pm1a_event_port});
  out.integer(std::uint32_t{0});  // PM1b_EVT
  out.integer(std::uint32_t{fixed.pm1a_control_port});
  out.integer(std::uint64_t{0});  // PM1b_CNT, PM2_CNT
  out.integer(std::uint32_t{fixed.pm_timer_port});
  out.integer(std::uint32_t{fixed.gpe0_port});
  out.integer(std::uint32_t{0});  // GPE1
  out.integer(std::uint8_t{4});   // PM1_EVT_LEN
  out.integer(std::uint8_t{2});   // PM1_CNT_LEN
  out.integer(std::uint8_t{0});   // PM2_CNT_LEN
  out.integer(std::uint8_t{4});   // PM_TMR_LEN
  out.integer(fixed.gpe0_length);
  out.integer(std::uint16_t{0});  // GPE1_LEN, GPE1_BASE
  out.integer(std::uint8_t{0});   // CST_CNT
  out.integer(kC2Unsupported);
  out.integer(kC3Unsupported);
  out.integer(std::uint32_t{0});  // FLUSH_SIZE, FLUSH_STRIDE
  out.integer(std::uint16_t{0});  // DUTY_OFFSET, DUTY_WIDTH
  out.integer(std::uint16_t{0});  // DAY_ALRM, MON_ALRM
  out.integer(fixed.rtc_century_register);
  out.integer(static_cast<std::uint16_t>(kLegacyDevices | (fixed.i8042 ? kHas8042 : 0) |
                                         (fixed.vga ? 0 : kNoVga)));
  out.integer(std::uint8_t{0});
}

/// Source: ACPI 5.2.9 "Fixed ACPI Description Table".
Bytes fadt(const FirmwareFacts::FixedHardware& fixed, std::uint32_t facs_address,
           std::uint32_t dsdt_address) {
  constexpr std::uint32_t kWbinvd = 1U << 0;
  constexpr std::uint32_t kC1 = 1U << 2;
  constexpr std::uint32_t kNoFixedSleepButton = 1U << 5;
  constexpr std::uint32_t kNoRtcWake = 1U << 6;
  constexpr std::uint32_t kResetRegister = 1U << 10;
  constexpr std::uint8_t kByteAccess = 1;
  constexpr std::uint8_t kWordAccess = 2;
  constexpr std::uint8_t kDwordAccess = 3;
  ByteWriter out;
  legacy_fadt(out, fixed, facs_address, dsdt_address);
  out.integer(kWbinvd | kC1 | kNoFixedSleepButton | kNoRtcWake | kResetRegister);
  generic_address(out, 8, kByteAccess, fixed.reset_port);
  out.integer(fixed.reset_value);
  out.integer(std::uint16_t{0});  // ARM_BOOT_ARCH
  out.integer(std::uint8_t{0});   // minor version
  out.integer(std::uint64_t{0});  // X_FIRMWARE_CTRL: the 32-bit one counts
  out.integer(std::uint64_t{dsdt_address});
  generic_address(out, 32, kWordAccess, fixed.pm1a_event_port);
  no_address(out);  // X_PM1b_EVT
  generic_address(out, 16, kWordAccess, fixed.pm1a_control_port);
  no_address(out);  // X_PM1b_CNT
  no_address(out);  // X_PM2_CNT
  generic_address(out, 32, kDwordAccess, fixed.pm_timer_port);
  generic_address(out, static_cast<std::uint8_t>(fixed.gpe0_length * 8), kByteAccess,
                  fixed.gpe0_port);
  no_address(out);  // X_GPE1
  return table("FACP", 3, out.take());
}

/// Source: ACPI 5.2.12 "Multiple APIC Description Table".
Bytes madt(const FirmwareFacts& facts) {
  constexpr std::uint32_t kPcatCompatible = 1;
  constexpr std::uint16_t kActiveHighLevel = 0x000d;
  constexpr std::uint8_t kAllProcessors = 0xff;
  ByteWriter out;
  out.integer(facts.local_apic_base);
  out.integer(kPcatCompatible);
  std::uint8_t number = 0;
  for (const FirmwareFacts::Processor& processor : facts.processors) {
    out.integer(std::uint8_t{0});  // processor local APIC
    out.integer(std::uint8_t{8});
    out.integer(number++);
    out.integer(processor.apic_id);
    out.integer(std::uint32_t{1});  // enabled
  }
  for (const FirmwareFacts::IoApic& io_apic : facts.io_apics) {
    out.integer(std::uint8_t{1});  // I/O APIC
    out.integer(std::uint8_t{12});
    out.integer(io_apic.id);
    out.integer(std::uint8_t{0});
    out.integer(io_apic.base);
    out.integer(io_apic.first_gsi);
  }
  for (const FirmwareFacts::IsaInterrupt& isa : facts.isa_interrupts) {
    if (isa.gsi == isa.irq && isa.trigger == Trigger::edge) continue;
    out.integer(std::uint8_t{2});  // interrupt source override
    out.integer(std::uint8_t{10});
    out.integer(std::uint8_t{0});  // ISA
    out.integer(isa.irq);
    out.integer(std::uint32_t{isa.gsi});
    out.integer(isa.trigger == Trigger::level ? kActiveHighLevel : std::uint16_t{0});
  }
  // Local APIC NMI.
  out.integer(std::uint8_t{4});
  out.integer(std::uint8_t{6});
  out.integer(kAllProcessors);
  out.integer(std::uint16_t{0});
  out.integer(std::uint8_t{1});  // LINT1
  return table("APIC", 1, out.take());
}

/// Source: IA-PC HPET Specification 1.0a, 3.2.4 "The ACPI 2.0 HPET Description Table".
Bytes hpet(std::uint32_t base) {
  constexpr std::uint32_t kTimerBlock = 0x8086a201;  // three comparators of 64 bits
  constexpr std::uint16_t kLeastPeriodicTicks = 100;
  ByteWriter out;
  out.integer(kTimerBlock);
  out.integer(std::uint8_t{0});  // in memory
  out.integer(std::uint8_t{64});
  out.integer(std::uint16_t{0});
  out.integer(std::uint64_t{base});
  out.integer(std::uint8_t{0});  // its number
  out.integer(kLeastPeriodicTicks);
  out.integer(std::uint8_t{0});  // page protection
  return table("HPET", 1, out.take());
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

Bytes acpi_dsdt(const FirmwareFacts& facts) {
  const Bytes sleep_type = aml::integer(facts.fixed.sleep_type_s5);
  const Bytes soft_off = aml::package({sleep_type, sleep_type, aml::integer(0), aml::integer(0)});
  return table("DSDT", 2,
               aml::sequence({aml::name("\\_S5_", soft_off), facts.root_terms,
                              aml::scope("\\_SB_", devices(facts))}));
}

AcpiPlacing place_acpi_tables(const FirmwareFacts& facts, std::uint64_t base, std::size_t head) {
  AcpiPlacing placed;
  Bytes& area = placed.area;
  area.resize(head, 0);
  std::uint32_t offset = 0;  // of the table added last
  const auto append = [&](const Bytes& bytes) {
    constexpr std::size_t kAlignment = 16;
    area.resize((area.size() + kAlignment - 1) / kAlignment * kAlignment, 0);
    offset = static_cast<std::uint32_t>(area.size());
    area.insert(area.end(), bytes.begin(), bytes.end());
    return static_cast<std::uint32_t>(base + offset);
  };
  const auto append_table = [&](const Bytes& bytes) {
    const std::uint32_t address = append(bytes);
    placed.checked.push_back({offset, static_cast<std::uint32_t>(bytes.size())});
    return address;
  };
  const std::uint32_t facs_address = append(facs());
  const std::uint32_t dsdt_address = append_table(acpi_dsdt(facts));
  const std::uint32_t fadt_address = append_table(fadt(facts.fixed, facs_address, dsdt_address));
  constexpr std::uint32_t kFirmwareControl = 36;
  constexpr std::uint32_t kDsdt = 40;
  constexpr std::uint32_t kWideDsdt = 140;
  placed.pointers = {{offset + kFirmwareControl, std::uint8_t{4}},
                     {offset + kDsdt, std::uint8_t{4}},
                     {offset + kWideDsdt, std::uint8_t{8}}};
  std::vector<std::uint32_t> roots{fadt_address, append_table(madt(facts))};
  if (facts.hpet_base != 0) roots.push_back(append_table(hpet(facts.hpet_base)));
  ByteWriter narrow;
  ByteWriter wide;
  for (const std::uint32_t address : roots) {
    narrow.integer(address);
    wide.integer(std::uint64_t{address});
  }
  const auto point = [&](std::uint8_t width) {
    for (std::uint32_t n = 0; n < roots.size(); ++n) {
      placed.pointers.push_back({offset + kHeaderSize + n * width, width});
    }
  };
  const std::uint32_t rsdt_address = append_table(table("RSDT", 1, narrow.data()));
  point(4);
  const std::uint32_t xsdt_address = append_table(table("XSDT", 1, wide.data()));
  point(8);
  placed.rsdp = rsdp(rsdt_address, xsdt_address);
  return placed;
}

Bytes acpi_tables(const FirmwareFacts& facts) {
  AcpiPlacing placed = place_acpi_tables(facts, platform::kRsdpAddress,
                                         platform::kAcpiTables - platform::kRsdpAddress);
  std::copy(placed.rsdp.begin(), placed.rsdp.end(), placed.area.begin());
  CHECK_THAT(platform::kRsdpAddress + placed.area.size() <= platform::kMpTables,
             "the ACPI tables run into the MP tables");
  return std::move(placed.area);
}

}  // namespace chronovisor
