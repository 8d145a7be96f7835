// Owns PCI configuration mechanism #1, the host bridge at 00:00.0 and the reset
// control register 0xcf9 that shares its ports. Other functions register
// themselves and own their configuration space and its state. One thread a
// machine.
//
// Ports: eight, at offset 0.
// Source: PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel 82441FX (PMC) data
// sheet for the host bridge; Intel 82371SB data sheet for 0xcf9.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>

#include "base/bytes.h"
#include "vmm/devices/core/device.h"
#include "vmm/devices/core/firmware_facts.h"
#include "vmm/devices/core/pci_function.h"
#include "vmm/memory/upper_memory.h"

namespace chronovisor {

struct FirmwareFacts;

/// CONFIG_ADDRESS takes dword accesses only; a byte at 0xcf9 is the reset
/// control register, other narrow accesses there read ones and are dropped.
/// The memory attribute registers of the host bridge are its own (PAM0 to PAM6, from
/// 59H on) if it is given the memory from C0000H to FFFFFH; else they are stored and
/// change nothing. SMRAM is stored, and can be locked; it never opens.
class PciHost final : public Device, public PortDevice, public PciBus {
 public:
  /// A full reset, written to the reset control register.
  static constexpr std::uint8_t kResetValue = 0x06;
  /// The addresses below 4 GiB that the bridge forwards, beside the VGA window.
  static constexpr std::uint32_t kMemoryWindowFirst = 0xc0000000;
  static constexpr std::uint32_t kMemoryWindowLast = 0xfebfffff;

  /// @param upper null: all RAM is always RAM
  explicit PciHost(UpperMemory* upper = nullptr);
  void on_reset_request(std::function<void()> callback);
  void add(PciAddress address, PciFunction& function) override;

  [[nodiscard]] std::string_view name() const override { return "pci_host"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void set_up_by_firmware() override;
  void state_restored() override;

  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  class HostBridge final : public PciFunction {
   public:
    explicit HostBridge(UpperMemory* upper);
    void reset();
    /// Lets answer who the attribute registers say, after a reset or a restore.
    void apply_attributes();
    void open_memory();
    [[nodiscard]] UpperMemory::Access access_at(std::uint64_t address) const;
    void visit(StateVisitor& visitor);
    std::uint32_t read_config(std::uint8_t offset, unsigned width) override;
    void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) override;

   private:
    static constexpr unsigned kSegments =
        (UpperMemory::kEnd - UpperMemory::kBegin) / UpperMemory::kSegmentBytes;
    [[nodiscard]] static constexpr std::uint64_t address_of(unsigned segment) {
      return UpperMemory::kBegin + segment * UpperMemory::kSegmentBytes;
    }
    [[nodiscard]] std::array<UpperMemory::Access, kSegments> access_by_segment() const;
    void change_attributes(const std::array<UpperMemory::Access, kSegments>& before);
    void write_smram(std::uint8_t value);
    void write_attributes(unsigned at, std::uint8_t value);
    UpperMemory* upper_;
    std::array<std::uint8_t, 256> config_{};
  };
  /// Where RAM is written and not read.
  class HiddenMemory final : public MmioDevice {
   public:
    HiddenMemory(UpperMemory* upper, const HostBridge& bridge) : upper_(upper), bridge_(bridge) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

   private:
    UpperMemory* upper_;
    const HostBridge& bridge_;
  };

  [[nodiscard]] PciFunction* selected() const;
  void write_reset_control(std::uint8_t value);

  /// The interrupts of the bus's devices, as ACPI's _PRT says them.
  [[nodiscard]] static Bytes routing_tables(FirmwareFacts& facts);

  UpperMemory* upper_;
  HostBridge bridge_;
  HiddenMemory hidden_;
  std::map<PciAddress, PciFunction*> functions_;
  std::uint32_t address_ = 0;
  std::uint8_t reset_control_ = 0;
  std::function<void()> reset_request_;
};

}  // namespace chronovisor
