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
#include <string>
#include <vector>

#include "vmm/devices/core/firmware_facts.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/media.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/storage/atapi_drive.h"
#include "vmm/devices/storage/ide_channel.h"

namespace chronovisor {

/// A channel answers while its bit in IDETIM (bit 15) is set, as it is after a reset:
/// a machine without firmware has its disks. Timing bits are kept and change nothing.
class IdeController final : public PciDevice {
 public:
  IdeController(PciAddress usual, MessageInterrupts& messages, const Clock& clock, DmaBus& dma);

  [[nodiscard]] IdeChannel& channel(unsigned which) { return which == 0 ? primary_ : secondary_; }
  /// At machine construction: a disk in place 0 to 3 (primary 0 and 1, secondary 0 and 1).
  void attach_disk(unsigned place, std::unique_ptr<Disk> disk, std::string serial);
  /// ... or a CD-ROM drive, whose discs are changed by inputs for `number`.
  void attach_cdrom(unsigned place, std::uint16_t number, MediaSource& media,
                    AtapiDrive::Disc disc);

  [[nodiscard]] std::string_view name() const override { return "ide"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void set_up_by_firmware() override;
  void state_restored() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 protected:
  void config_written(std::uint8_t offset) override;

 private:
  class Tray final : public InputReceiver {
   public:
    Tray(std::uint16_t number, AtapiDrive& drive) : number_(number), drive_(drive) {}
    [[nodiscard]] std::uint16_t number() const { return number_; }
    void receive(const Input& input) override;

   private:
    std::uint16_t number_;
    AtapiDrive& drive_;
  };
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
  /// Tells firmware what it may start from.
  void declare_boot_devices(FirmwareFacts& facts) const;
  void follow_config();

  const PciAddress usual_;
  /// What is in each place, as FirmwareFacts::BootDevice has it; 0: nothing.
  std::array<char, 4> letters_{};
  DmaPort dma_;
  IdeChannel primary_;
  IdeChannel secondary_;
  CommandBlock primary_block_{*this, 0};
  CommandBlock secondary_block_{*this, 1};
  Control primary_control_{*this, 0};
  Control secondary_control_{*this, 1};
  BusMaster bus_master_{*this};
  std::vector<std::unique_ptr<Disk>> disks_;
  std::vector<std::unique_ptr<Tray>> trays_;
};

}  // namespace chronovisor
