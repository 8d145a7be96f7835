// Owns an ATA hard disk on an IDE channel: what its commands do to its disk. Knows
// no port. One thread a machine.
// Source: ATA/ATAPI-6 (T13/1410D), chapter 8 "Command descriptions".
#pragma once

#include <cstdint>
#include <string>

#include "vmm/devices/storage/ide_drive.h"

namespace chronovisor {

/// Cylinders, heads and sectors by the rule of BIOSes for large disks: 16 heads of 63
/// sectors, at most 16,383 cylinders. Transfer modes are accepted and change nothing.
/// Security, host protected area, SMART and media card commands are aborted.
class AtaDrive final : public IdeDrive {
 public:
  /// @param serial up to 20 characters
  AtaDrive(Disk& disk, std::string serial);

  [[nodiscard]] std::string request() const override;

 protected:
  void execute(std::uint8_t command) override;
  void data_written() override;
  void data_taken() override;
  void go_on() override;
  void put_signature() override;
  void drive_reset() override;
  void visit_drive(StateVisitor& visitor, const std::string& prefix) override;

 private:
  enum class Kind : std::uint8_t {
    none,
    identify,
    read,
    write,
    read_dma,
    write_dma,
    verify,
    flush,
    no_data,
  };

  void begin(Kind kind);
  /// Takes the range from the task file. @return false (and fails) when it is not on the disk
  [[nodiscard]] bool take_range(bool wide);
  void transfer(Kind kind, bool wide, std::uint32_t sectors_a_block);
  void read_piece();
  void write_piece_asked(IdeAction interrupt);
  void identify();
  void set_features();
  void show_place(std::uint64_t sector);
  [[nodiscard]] std::size_t piece_bytes() const;

  Disk& disk_;
  std::string serial_;
  Kind kind_ = Kind::none;
  bool wide_ = false;         ///< the command is one of 48 bits
  std::uint64_t sector_ = 0;  ///< the next one
  std::uint32_t left_ = 0;    ///< sectors still to move
  std::uint64_t first_ = 0;   ///< of the whole command
  std::uint32_t count_asked_ = 0;
  std::uint32_t block_ = 1;    ///< sectors between two interrupts
  std::uint8_t multiple_ = 0;  ///< as SET MULTIPLE MODE left it; 0: none
  std::uint8_t heads_ = 16;    ///< as INITIALIZE DEVICE PARAMETERS left it
  std::uint8_t track_sectors_ = 63;
  std::uint8_t transfer_mode_ = 0;  ///< as SET FEATURES left it
};

}  // namespace chronovisor
