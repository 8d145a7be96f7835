// Owns one IDE channel: which of its two drives the registers mean, the interrupt
// line, and the bus master that moves their data. Knows no PCI. One thread a machine.
// Source: ATA/ATAPI-6 (T13/1410D), chapter 7; Intel 82371SB (PIIX3) data sheet, "Bus
// Master IDE Registers".
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/storage/ide_drive.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

class IdeChannel {
 public:
  /// @param prefix of its fields in the state, "primary."
  IdeChannel(std::string prefix, const Clock& clock, DmaPort& dma);
  IdeChannel(const IdeChannel&) = delete;
  IdeChannel& operator=(const IdeChannel&) = delete;

  /// At machine construction. @param which 0 or 1
  void attach(unsigned which, std::unique_ptr<IdeDrive> drive) {
    drives_[which] = std::move(drive);
  }
  [[nodiscard]] IdeDrive* drive(unsigned which) { return drives_[which].get(); }
  [[nodiscard]] InterruptPin& pin() { return pin_; }

  /// 0 to 7: the command block. Data (0) of two or four bytes, all else of one.
  [[nodiscard]] std::uint32_t read_command_block(unsigned offset, unsigned width);
  void write_command_block(unsigned offset, unsigned width, std::uint32_t value);
  /// Device control and alternate status.
  [[nodiscard]] std::uint8_t read_control() const;
  void write_control(std::uint8_t value);
  /// The bus master's registers: 0 command, 2 status, 4 to 7 the table's address.
  [[nodiscard]] std::uint8_t read_bus_master(unsigned offset) const;
  void write_bus_master(unsigned offset, std::uint8_t value);

  [[nodiscard]] std::uint64_t due_ns() const;
  void advance(std::uint64_t now_ns);
  void reset();
  void visit_state(StateVisitor& visitor);
  /// The function may be bus master.
  void set_bus_master_allowed(bool allowed) { master_allowed_ = allowed; }

 private:
  [[nodiscard]] IdeDrive* selected() const;
  void act(unsigned which, IdeAction action);
  void raise();
  void move_data();
  [[nodiscard]] bool move(IdeDrive& drive);
  [[nodiscard]] bool next_descriptor();

  const std::string prefix_;
  const Clock& clock_;
  DmaPort& dma_;
  std::array<std::unique_ptr<IdeDrive>, 2> drives_;
  InterruptPin pin_;
  bool master_allowed_ = false;  ///< the PCI command register's bit; not state here
  bool second_ = false;          ///< the device register names drive 1
  std::uint8_t control_ = 0;
  bool asserted_ = false;  ///< INTRQ, whatever nIEN says
  std::uint8_t master_command_ = 0;
  std::uint8_t master_status_ = 0;
  std::uint32_t table_ = 0;  ///< address of the descriptor table
  std::uint32_t next_ = 0;   ///< address of the next descriptor
  // What is left of the region that the present descriptor names.
  std::uint32_t region_at_ = 0;
  std::uint32_t region_left_ = 0;  ///< bytes
  std::uint32_t descriptors_taken_ = 0;
  bool last_descriptor_ = false;
};

}  // namespace chronovisor
