// Owns what firmware tables say about a machine: collected from the devices as
// they are placed, read by the makers of ACPI and MP tables and of the BIOS data
// area. Knows no table format but AML terms. Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

/// How a line asks for attention.
enum class Trigger : std::uint8_t { edge, level };

struct FirmwareFacts {
  /// ACPI fixed hardware; a port 0 is not there.
  /// Source: ACPI specification 6.4, 5.2.9 "Fixed ACPI Description Table".
  struct FixedHardware {
    std::uint16_t pm1a_event_port = 0;    ///< 2 bytes status, 2 bytes enable
    std::uint16_t pm1a_control_port = 0;  ///< 2 bytes
    std::uint16_t pm_timer_port = 0;      ///< 4 bytes
    std::uint16_t gpe0_port = 0;
    std::uint8_t gpe0_length = 0;
    std::uint16_t smi_command_port = 0;
    std::uint8_t acpi_enable = 0;   ///< written to the SMI command port
    std::uint8_t acpi_disable = 0;  ///< likewise
    std::uint8_t sleep_type_s5 = 0;
    std::uint8_t sci_irq = 0;
    std::uint16_t reset_port = 0;
    std::uint8_t reset_value = 0;
    std::uint8_t rtc_century_register = 0;
    bool i8042 = false;
    bool vga = false;
  };
  struct Processor {
    std::uint8_t apic_id;
    std::uint8_t apic_version;
  };
  struct IoApic {
    std::uint8_t id;
    std::uint8_t version;  ///< as the MP table says it
    std::uint32_t base;
    std::uint32_t first_gsi;
  };
  /// An ISA interrupt that some device drives.
  struct IsaInterrupt {
    std::uint8_t irq;
    std::uint8_t gsi;
    Trigger trigger;
  };
  /// A Device of the ACPI namespace.
  struct NamespaceEntry {
    std::string name;  ///< four characters
    Bytes terms;       ///< what is in it
  };

  FixedHardware fixed;
  std::uint32_t local_apic_base = 0;
  std::vector<Processor> processors;
  std::vector<IoApic> io_apics;
  std::vector<IsaInterrupt> isa_interrupts;   ///< ascending by irq
  std::optional<NamespaceEntry> host_bridge;  ///< the others are within it
  std::vector<NamespaceEntry> devices;
  Bytes root_terms;  ///< what stands at the root of the ACPI namespace besides
  /// What firmware may start from: a letter as DOS has it ('a' a floppy, 'c' a disk, 'd'
  /// a CD), and the device's path as Open Firmware writes it.
  struct BootDevice {
    char letter;
    std::string path;
  };
  std::vector<BootDevice> boot_devices;
  std::vector<std::uint16_t> serial_ports;  ///< of the BIOS data area
  std::uint32_t hpet_base = 0;              ///< 0: there is none
};

}  // namespace chronovisor
