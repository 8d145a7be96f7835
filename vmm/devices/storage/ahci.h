// Owns an AHCI controller with its ports and the ATA disks on them: command lists, the
// commands of ATA by DMA, and native command queueing without reordering. Knows no
// machine. One thread a machine.
// Source: Serial ATA AHCI 1.3.1; ATA8-ACS. Identity: Intel 82801IR (ICH9).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/core/device.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/devices/storage/disk.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

/// A command is done kCommandNs and kNsPerByte for each of its bytes after it became the
/// first in line at its port, whatever the host does. Commands of a port go one after
/// the other, in the order of their slots. There are disks only, no packet devices.
class AhciController final : public PciDevice {
 public:
  static constexpr unsigned kPorts = 6;
  static constexpr unsigned kSlots = 32;
  static constexpr std::uint64_t kCommandNs = 25'000;
  static constexpr std::uint64_t kNsPerByte = 4;

  AhciController(PciAddress usual, MessageInterrupts& messages, const Clock& clock, DmaBus& dma);
  ~AhciController() override;

  /// At machine construction. @param serial up to 20 characters
  void attach(unsigned port, std::unique_ptr<Disk> disk, std::string serial);

  [[nodiscard]] std::string_view name() const override { return "ahci"; }
  /// Version 2 sends a message for each port that comes to want an interrupt, and for those that
  /// are left when some were taken; version 1 only when none was wanted before.
  [[nodiscard]] StateVersions state_versions() const override { return {1, 2}; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 private:
  /// Registers of a port, by their names in the specification, and what it does.
  struct Port {
    std::unique_ptr<Disk> disk;
    std::string serial;

    std::uint64_t clb = 0;
    std::uint64_t fb = 0;
    std::uint32_t is = 0;
    std::uint32_t ie = 0;
    std::uint32_t cmd = 0;
    std::uint32_t tfd = 0;
    std::uint32_t sctl = 0;
    std::uint32_t serr = 0;
    std::uint32_t sact = 0;
    std::uint32_t ci = 0;
    std::uint32_t signature = 0xffffffff;
    std::uint8_t slot = 0;  ///< of the command in work
    std::uint8_t last_slot = kSlots - 1;
    bool busy = false;
    std::uint64_t due_ns = kNever;
    std::array<std::uint64_t, kSlots> started{};  ///< positions of the writes that issued them
    /// What the last queued command that failed was, as READ LOG EXT tells it.
    std::array<std::uint8_t, 16> queued_error{};
  };
  struct Command;
  class Cause;
  class Memory final : public MmioDevice {
   public:
    explicit Memory(AhciController& ahci) : ahci_(ahci) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

   private:
    AhciController& ahci_;
  };

  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) const;
  void write_register(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] std::uint32_t read_port(const Port& port, std::uint32_t offset) const;
  void write_port(Port& port, std::uint32_t offset, std::uint32_t value);
  void write_command(Port& port, std::uint32_t value);
  void stop_port(Port& port);
  void reset_port(Port& port);
  void controller_reset();
  void link_up(Port& port);
  void begin_next(Port& port);
  [[nodiscard]] bool fetch(Port& port, unsigned slot, Command& command);
  void serve(Port& port);
  void complete(Port& port, const Command& command);
  void fail(Port& port, const Command& command, std::uint8_t error);
  [[nodiscard]] bool transfer(Port& port, Command& command);
  [[nodiscard]] bool move(Command& command, std::span<std::uint8_t> bytes, DmaDirection direction);
  [[nodiscard]] static std::vector<std::uint8_t> identity(const Port& port);
  [[nodiscard]] static std::vector<std::uint8_t> error_log(const Port& port);
  void post_fis(const Port& port, std::uint32_t place, ByteView fis);
  void post_register_fis(const Port& port);
  void update_interrupt();

  const Clock& clock_;
  DmaPort dma_;
  Memory memory_{*this};
  std::array<Port, kPorts> ports_;
  std::uint32_t ghc_ = 0;
  std::uint32_t is_ = 0;
  bool interrupt_ = false;  ///< it is asked for, and a message was sent
};

}  // namespace chronovisor
