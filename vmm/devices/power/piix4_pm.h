// Owns the power management function of the PIIX4: where in the port space the ACPI
// fixed hardware is, which is a part of it. Knows no CPU. One thread a machine.
//
// Ports: a block of 64 where PMBA says, if PMREGMISC lets it answer.
// Source: Intel 82371AB (PIIX4) data sheet, "Power Management PCI Configuration
// Registers (Function 3)".
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/devices/core/firmware_items.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/power/acpi_pm.h"

namespace chronovisor {

/// Within the block the fixed hardware is as acpi_pm.h has it, GPE0 included. The SMBus
/// controller is not there: its base address reads back. There are no SMIs, and DEVACTB
/// says from the beginning that firmware has set them up.
class Piix4Pm final : public PciDevice, public InputReceiver {
 public:
  /// @param base where firmware puts the block, and tables say it is
  Piix4Pm(PciAddress usual, MessageInterrupts& messages, const Clock& clock,
          std::uint16_t base = kBiosPowerBase);
  void on_power_off(std::function<void()> callback) { pm_.on_power_off(std::move(callback)); }

  [[nodiscard]] std::string_view name() const override { return "piix4_pm"; }
  void declare(Declaration& declaration) override;
  void receive(const Input& input) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void set_up_by_firmware() override;
  void state_restored() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override { return pm_.next_deadline_ns(); }
  void advance(VirtualTime now) override;

 protected:
  void config_written(std::uint8_t offset) override;

 private:
  static constexpr std::uint64_t kBlockPorts = 64;
  const std::uint16_t base_;
  /// The fixed hardware's ports, `base` of which is the first offset that it sees.
  class Ports final : public PortDevice {
   public:
    Ports(Piix4Pm& owner, std::uint16_t base, std::uint16_t count)
        : owner_(owner), base_(base), count_(count) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    Piix4Pm& owner_;
    std::uint16_t base_;
    std::uint16_t count_;
  };
  void place_block();

  AcpiPm pm_;
  Ports block_{*this, 0, AcpiPm::kBlockPorts};
  Ports smi_{*this, AcpiPm::kSmiCommandOffset, 2};
  Window window_{kBlockPorts};
};

}  // namespace chronovisor
