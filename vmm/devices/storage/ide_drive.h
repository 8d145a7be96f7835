// Owns what an IDE channel and a drive on it have in common: the task file, the
// data buffer, and how a command goes from one phase to the next. What commands do
// is a matter of the drive (ata_drive.h, atapi_drive.h); ports, the interrupt line
// and bus mastering are the channel's. Knows no bus. One thread a machine.
// Source: ATA/ATAPI-6 (T13/1410D), chapters 7 "Interface register definitions" and
// 9 "Protocol".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/state.h"
#include "base/units.h"
#include "vmm/devices/storage/disk.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

// Bits of the status register.
inline constexpr std::uint8_t kIdeError = 0x01;
inline constexpr std::uint8_t kIdeDataRequest = 0x08;
inline constexpr std::uint8_t kIdeSeekComplete = 0x10;
inline constexpr std::uint8_t kIdeFault = 0x20;
inline constexpr std::uint8_t kIdeReady = 0x40;
inline constexpr std::uint8_t kIdeBusy = 0x80;
// Bits of the error register.
inline constexpr std::uint8_t kIdeAborted = 0x04;
inline constexpr std::uint8_t kIdeIdNotFound = 0x10;
inline constexpr std::uint8_t kIdeUncorrectable = 0x40;
// Bits of the device register.
inline constexpr std::uint8_t kIdeSecondDrive = 0x10;
inline constexpr std::uint8_t kIdeLba = 0x40;

/// How long a drive takes, a function of the request alone: 40 us to begin with, and
/// 10 ns a byte (100 MB/s).
inline constexpr std::uint64_t kIdeCommandNs = 40'000;
inline constexpr std::uint64_t kIdeNsPerByte = 10;

/// What the channel must do after the drive has acted.
enum class IdeAction : std::uint8_t { none, interrupt };

class IdeDrive : public DmaCause {
 public:
  /// The most bytes between two interrupts of a PIO transfer, and of one DMA piece.
  static constexpr std::size_t kBufferBytes = 128 * 1024;

  ~IdeDrive() override = default;

  // ---- for the channel -------------------------------------------------------------
  /// Task file registers, 1 (error or features) to 6 (device).
  [[nodiscard]] std::uint8_t read_register(unsigned number, bool high_order) const;
  void write_register(unsigned number, std::uint8_t value);
  [[nodiscard]] std::uint8_t status() const { return status_; }
  /// @param here where the write is made, for people
  void write_command(std::uint8_t command, std::uint64_t now_ns, Position here);
  /// The data register, two or four bytes.
  [[nodiscard]] std::uint32_t read_data(unsigned width, std::uint64_t now_ns);
  IdeAction write_data(std::uint32_t value, unsigned width, std::uint64_t now_ns);
  /// Virtual time at which the drive goes on by itself; kNever: it does not.
  [[nodiscard]] std::uint64_t due_ns() const { return due_ns_; }
  /// Goes on, at or after due_ns().
  IdeAction advance(std::uint64_t now_ns);
  /// The interrupt that a read or written buffer asks for.
  [[nodiscard]] IdeAction take_action();

  /// Data wait to be moved by the bus master, in this direction.
  enum class Dma : std::uint8_t { none, to_memory, from_memory };
  [[nodiscard]] Dma dma() const { return dma_; }
  /// The bytes of the present piece.
  [[nodiscard]] std::vector<std::uint8_t>& dma_buffer() { return buffer_; }
  /// The present piece was moved, or (`whole` false) the memory for it ran out.
  IdeAction dma_moved(bool whole, std::uint64_t now_ns);

  [[nodiscard]] Position started() const override { return {started_}; }

  /// Software reset, power-on, or (ATAPI) DEVICE RESET.
  void reset();
  void visit_state(StateVisitor& visitor, const std::string& prefix);
  [[nodiscard]] bool is_second() const { return (device_ & kIdeSecondDrive) != 0; }

 protected:
  IdeDrive() = default;

  // ---- for a drive ----------------------------------------------------------------
  /// Begins `command`. It ends with one of the functions below.
  virtual void execute(std::uint8_t command) = 0;
  /// A buffer was filled by the guest (PIO or DMA): use it, and ask for more or end.
  virtual void data_written() = 0;
  /// A buffer was taken by the guest: give the next or end.
  virtual void data_taken() = 0;
  /// After a wait: what wait() was called for.
  virtual void go_on() = 0;
  virtual void put_signature() = 0;
  virtual void drive_reset() = 0;
  virtual void visit_drive(StateVisitor& visitor, const std::string& prefix) = 0;
  [[nodiscard]] virtual std::uint8_t ready_status() const { return kIdeReady | kIdeSeekComplete; }

  /// Busy for the time that `bytes` take; then go_on().
  void wait(std::uint64_t bytes);
  /// The guest shall read `buffer_` through the data register.
  void offer_data();
  /// The guest shall write so many bytes; `interrupt`: it is told by one.
  void ask_for_data(std::size_t bytes, IdeAction interrupt);
  /// The bus master shall move `buffer_` to memory, or fill it.
  void offer_dma();
  void ask_for_dma(std::size_t bytes);
  void finish(IdeAction interrupt = IdeAction::interrupt);
  void fail(std::uint8_t error);

  [[nodiscard]] std::uint64_t now_ns() const { return now_ns_; }

  std::uint8_t features_ = 0;
  std::uint8_t error_ = 0;
  // [0] as written last, [1] as before: the high-order bytes of 48-bit commands.
  std::array<std::uint8_t, 2> count_{};
  std::array<std::uint8_t, 2> lba_low_{};
  std::array<std::uint8_t, 2> lba_mid_{};
  std::array<std::uint8_t, 2> lba_high_{};
  std::uint8_t device_ = 0;
  std::uint8_t status_ = 0;
  std::uint8_t command_ = 0;
  std::vector<std::uint8_t> buffer_;

 private:
  std::uint32_t at_ = 0;  ///< of the next byte in buffer_
  bool writing_ = false;  ///< the guest fills the buffer
  Dma dma_ = Dma::none;
  std::uint64_t due_ns_ = kNever;
  std::uint64_t started_ = 0;  ///< the position of the command's write
  // During a call, and no state: whoever calls takes the action at once.
  IdeAction action_ = IdeAction::none;
  std::uint64_t now_ns_ = 0;
};

}  // namespace chronovisor
