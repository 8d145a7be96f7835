// Owns the PCI IDE function of the PIIX3: two channels at the ports of the AT, and
// their bus masters in one BAR. Knows no drive type but what it is given. One thread
// a machine.
//
// Ports: 1F0H and 3F6H, 170H and 376H; BAR 4 of 16.
// Source: Intel 82371SB (PIIX3) data sheet, "PCI IDE".
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/storage/ide_channel.h"

namespace chronovisor {

/// A channel answers once its bit in IDETIM (bit 15) is set, as firmware does. Timing
/// bits are kept and change nothing.
class IdeController final : public PciDevice {
 public:
  IdeController(PciAddress usual, MessageInterrupts& messages, const Clock& clock, DmaBus& dma);

  [[nodiscard]] IdeChannel& channel(unsigned which) { return which == 0 ? primary_ : secondary_; }

  [[nodiscard]] std::string_view name() const override { return "ide"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void state_restored() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 protected:
  void config_written(std::uint8_t offset) override;

 private:
  class CommandBlock final : public PortDevice {
   public:
    CommandBlock(IdeController& ide, unsigned which) : ide_(ide), which_(which) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    IdeController& ide_;
    unsigned which_;
  };
  class Control final : public PortDevice {
   public:
    Control(IdeController& ide, unsigned which) : ide_(ide), which_(which) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    IdeController& ide_;
    unsigned which_;
  };
  class BusMaster final : public PortDevice {
   public:
    explicit BusMaster(IdeController& ide) : ide_(ide) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    IdeController& ide_;
  };

  [[nodiscard]] bool decodes(unsigned which) const;
  void follow_config();

  DmaPort dma_;
  IdeChannel primary_;
  IdeChannel secondary_;
  CommandBlock primary_block_{*this, 0};
  CommandBlock secondary_block_{*this, 1};
  Control primary_control_{*this, 0};
  Control secondary_control_{*this, 1};
  BusMaster bus_master_{*this};
};

}  // namespace chronovisor
