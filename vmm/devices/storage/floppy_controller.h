// Owns the floppy controller of a PC, an 82077AA with up to two drives, and the DMA
// controllers, which nothing else on the board uses. Knows no file. One thread a machine.
//
// Ports: 3F0H to 3F5H and 3F7H (3F6H is the IDE controller's). IRQ 6, DMA channel 2.
// Source: Intel 82077AA data sheet.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/storage/disk.h"
#include "vmm/devices/storage/isa_dma.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

/// What is on a disk, and which drive it takes.
struct FloppyFormat {
  std::uint8_t cylinders;
  std::uint8_t heads;
  std::uint8_t sectors;     ///< of a track
  std::uint8_t drive_type;  ///< as the CMOS memory has it: 4 is one of 1.44 MB
  std::uint8_t rate;        ///< as the controller has it: 0 is 500 kbit/s
  [[nodiscard]] std::uint64_t bytes() const {
    return std::uint64_t{cylinders} * heads * sectors * kSectorBytes;
  }
};
/// The smallest format that has room for so many bytes; nothing: there is none.
[[nodiscard]] std::optional<FloppyFormat> floppy_format(std::uint64_t bytes);

/// A sector takes kSectorNs, and the command that begins it kCommandNs more; a step of the
/// head kStepNs. Heads move where they are told at once with what needs them. Sectors have
/// 512 bytes. A command that is not known is invalid, as the data sheet has it; so are those
/// that compare. A sector behind the image's end reads as zeros and cannot be written.
class FloppyController final : public Device, private DmaCause {
 public:
  static constexpr unsigned kDrives = 2;
  static constexpr std::uint64_t kCommandNs = 500'000;
  static constexpr std::uint64_t kSectorNs = 500'000;
  static constexpr std::uint64_t kStepNs = 100'000;

  FloppyController(const Clock& clock, DmaBus& dma);
  /// At machine construction. @param which 0 or 1
  void attach(unsigned which, std::unique_ptr<Disk> disk);

  [[nodiscard]] std::string_view name() const override { return "floppy"; }
  [[nodiscard]] StateVersions state_versions() const override { return {1, 2}; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void set_up_by_firmware() override { isa_dma_.set_up_by_firmware(); }
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 private:
  enum class Phase : std::uint8_t {
    command,   ///< bytes of a command are taken
    busy,      ///< until due_ns_ a sector is looked for
    to_host,   ///< the FIFO has a sector for the processor
    to_drive,  ///< it waits for one
    result,    ///< bytes of the answer are given
  };
  struct Drive {
    std::unique_ptr<Disk> disk;
    FloppyFormat format{};
    std::uint8_t cylinder = 0;  ///< where the head is
    std::uint8_t target = 0;    ///< where a seek takes it
    std::uint64_t due_ns = kNever;
    std::uint8_t status = 0;  ///< for the sense interrupt command
    bool has_status = false;
    bool changed = true;  ///< no step was made since there is a disk
  };
  class Registers final : public BytePortDevice {
   public:
    explicit Registers(FloppyController& floppy) : floppy_(floppy) {}

   protected:
    std::uint8_t read_byte(std::uint16_t offset) override { return floppy_.read(offset); }
    void write_byte(std::uint16_t offset, std::uint8_t value) override {
      floppy_.write(offset, value);
    }

   private:
    FloppyController& floppy_;
  };
  /// As many as the longest command has, and the longest answer.
  static constexpr std::size_t kMostBytes = 16;

  [[nodiscard]] std::uint8_t read(std::uint16_t offset);
  void write(std::uint16_t offset, std::uint8_t value);
  [[nodiscard]] std::uint8_t main_status() const;
  [[nodiscard]] std::uint8_t read_fifo();
  void write_fifo(std::uint8_t value);
  void write_output_register(std::uint8_t value);
  void reset_controller();
  void execute();
  void answer(std::initializer_list<std::uint8_t> bytes);
  void invalid();
  void sense_interrupt();
  void sense_drive();
  void seek(unsigned which, std::uint8_t target);
  void read_id();
  void dump_registers();
  void begin_transfer();
  void sector_due();
  void move_sector();
  void format_sector();
  /// The sector in the buffer has come or gone. @param last the channel's last byte did
  void sector_done(bool last);
  void next_sector();
  void finish(std::uint8_t status0, std::uint8_t status1 = 0, std::uint8_t status2 = 0);
  [[nodiscard]] bool ready(unsigned which) const;
  [[nodiscard]] Drive& drive() { return drives_[which_]; }
  [[nodiscard]] std::uint64_t sector_number() const;
  [[nodiscard]] bool by_dma() const { return (specified_[1] & 1) == 0; }
  void set_interrupt(bool level);
  [[nodiscard]] std::string request() const override;
  [[nodiscard]] Position started() const override { return {started_}; }

  const Clock& clock_;
  DmaPort dma_;
  IsaDma isa_dma_;
  Registers registers_{*this};
  InterruptPin irq_;
  std::array<Drive, 4> drives_;  ///< of which two may have disks
  std::uint8_t output_ = 0;      ///< the digital output register
  std::uint8_t tape_ = 0;
  std::uint8_t rate_ = 2;
  bool interrupt_ = false;
  Phase phase_ = Phase::command;
  std::array<std::uint8_t, kMostBytes> command_{};
  std::uint8_t command_have_ = 0;
  std::array<std::uint8_t, kMostBytes> result_{};
  std::uint8_t result_at_ = 0;
  std::uint8_t result_count_ = 0;
  std::array<std::uint8_t, 2> specified_{};   ///< step rate and unload time; load time, no DMA
  std::array<std::uint8_t, 2> configured_{};  ///< FIFO, polling, implied seeks; precompensation
  bool locked_ = false;
  std::uint8_t perpendicular_ = 0;
  // Of the transfer.
  std::uint8_t which_ = 0;  ///< drive
  std::uint8_t head_ = 0;
  std::uint8_t cylinder_ = 0;
  std::uint8_t sector_ = 0;
  std::uint8_t left_ = 0;  ///< sectors that a format still makes, or a verify still reads
  std::uint64_t due_ns_ = kNever;
  std::uint64_t started_ = 0;  ///< position of the access that began it
  std::array<std::uint8_t, kSectorBytes> buffer_{};
  std::uint16_t buffer_at_ = 0;
};

}  // namespace chronovisor
