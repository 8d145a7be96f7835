// Owns a CD-ROM drive on an IDE channel: its packet commands and its tray. Knows no
// port. One thread a machine.
// Source: ATA/ATAPI-6 (T13/1410D), 8.24 "PACKET"; SFF-8020i; MMC-5 (T10/1675-D).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "vmm/devices/core/media.h"
#include "vmm/devices/storage/ide_drive.h"

namespace chronovisor {

/// One data track. Discs are read only; audio is not there. A change of the disc is
/// told by a unit attention, as by a drive with a tray.
class AtapiDrive final : public IdeDrive {
 public:
  static constexpr std::uint32_t kBlockBytes = 2048;

  struct Disc {
    std::uint32_t medium = kNoMedium;
    std::uint64_t size_bytes = 0;
  };
  /// @param media where discs are read from; must outlive this
  /// @param disc what is in the tray at power-on
  AtapiDrive(MediaSource& media, Disc disc);

  enum class Force : std::uint8_t { no, yes };
  /// Somebody wants another disc in the tray, or none. A tray that the guest has locked
  /// keeps its disc, and the guest is told of the wish, unless it is forced.
  void change(Disc disc, Force force);
  [[nodiscard]] bool locked() const { return locked_; }
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
  enum class Kind : std::uint8_t { none, identify, packet, reply, read, read_dma, no_data, refuse };
  static constexpr std::size_t kPacketBytes = 12;

  struct Sense {
    std::uint8_t key;
    std::uint8_t code;
  };

  void run_packet();
  [[nodiscard]] bool medium_ready();
  void read_blocks(std::uint32_t first, std::uint32_t count);
  void next_piece();
  void reply(std::size_t allocated);
  void good();
  void check(Sense sense);
  void identify();
  void inquiry();
  void request_sense();
  void mode_sense(bool ten);
  void read_toc();
  void read_capacity();
  void get_configuration();
  void get_event_status();
  void read_disc_information();
  void mechanism_status();
  void start_stop();
  [[nodiscard]] std::uint32_t blocks() const;
  [[nodiscard]] std::uint32_t packet32(unsigned at) const;
  [[nodiscard]] std::uint16_t packet16(unsigned at) const;
  void byte(unsigned value) { buffer_.push_back(static_cast<std::uint8_t>(value)); }
  void big16(std::uint32_t value);
  void big32(std::uint32_t value);
  void set_count(std::size_t bytes);

  /// What GET EVENT STATUS tells, by the numbers of its media class.
  enum class Event : std::uint8_t { none = 0, eject_wanted = 1, new_disc = 2, disc_gone = 3 };

  void follow_disc();
  [[nodiscard]] Disk* disk() const { return disk_.get(); }

  MediaSource& media_;
  Disc disc_;
  std::unique_ptr<Disk> disk_;  ///< what disc_ says; no state
  Kind kind_ = Kind::none;
  std::array<std::uint8_t, kPacketBytes> packet_{};
  bool dma_wanted_ = false;
  std::uint32_t block_ = 0;
  std::uint32_t left_ = 0;   ///< blocks still to read
  std::uint32_t first_ = 0;  ///< of the whole command
  std::uint32_t count_asked_ = 0;
  std::uint32_t piece_limit_ = 0;  ///< bytes between two interrupts of PIO
  std::uint8_t sense_key_ = 0;
  std::uint8_t sense_code_ = 0;
  bool attention_ = false;  ///< the disc was changed
  Event event_ = Event::none;
  bool locked_ = false;
  bool tray_open_ = false;
};

}  // namespace chronovisor
