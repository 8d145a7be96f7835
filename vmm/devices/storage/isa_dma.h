// Owns the AT's two 8237A DMA controllers and their page registers: eight channels, whose
// addresses and counts a driver programs and a device on the ISA bus uses up. Memory is
// reached by the device's own port. Knows no device. One thread a machine.
//
// Ports: 00H-0FH, C0H-DFH (every second), 81H-83H, 87H, 89H-8BH, 8FH.
// Source: Intel 8237A data sheet; IBM PC AT Technical Reference, "DMA".
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/state.h"
#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

/// Channels 0 to 3 move bytes within a page of 64 KiB; 5 to 7 are programmed and move
/// nothing, since no device here has 16 bits. There are no requests by software, no transfers
/// from memory to memory, and priorities change nothing.
class IsaDma {
 public:
  /// What became of a device's request.
  struct Moved {
    std::size_t bytes = 0;        ///< as many as the channel took
    bool terminal_count = false;  ///< the last of them was the channel's last
  };

  void declare(Declaration& declaration);
  void reset();
  /// Lets the first controller through the second, as a BIOS does.
  void set_up_by_firmware();
  void visit_state(StateVisitor& visitor, const std::string& prefix);

  /// The device on `channel` (0 to 3) has bytes for memory. A channel that is masked, or
  /// programmed for another direction, takes none; one that verifies takes them nowhere.
  [[nodiscard]] Moved to_memory(unsigned channel, ByteView data, DmaPort& memory);
  /// The device on `channel` wants bytes; what verifies gives it zeros.
  [[nodiscard]] Moved from_memory(unsigned channel, std::span<std::uint8_t> out, DmaPort& memory);

 private:
  struct Channel {
    std::uint16_t base_address = 0;
    std::uint16_t base_count = 0;
    std::uint16_t address = 0;
    std::uint16_t count = 0;
    std::uint8_t mode = 0;
    std::uint8_t page = 0;
  };
  struct Chip {
    std::uint8_t command = 0;
    std::uint8_t mask = 0x0f;
    std::uint8_t status = 0;  ///< bits 0 to 3: terminal count reached
    bool high_byte = false;   ///< of the address or count that comes next
  };
  /// One chip's registers; offsets are those of the 8237A.
  class Registers final : public BytePortDevice {
   public:
    Registers(IsaDma& dma, unsigned chip, unsigned step) : dma_(dma), chip_(chip), step_(step) {}

   protected:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;

   private:
    IsaDma& dma_;
    unsigned chip_;
    unsigned step_;  ///< ports from one register to the next
  };
  class Pages final : public BytePortDevice {
   public:
    explicit Pages(IsaDma& dma) : dma_(dma) {}

   protected:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;

   private:
    IsaDma& dma_;
  };

  [[nodiscard]] std::uint8_t read(unsigned chip, unsigned index);
  void write(unsigned chip, unsigned index, std::uint8_t value);
  void clear(Chip& chip);
  /// @param piece moves so many bytes of the request from `at` on, at an address
  template <class Piece>
  Moved move(unsigned channel, std::uint8_t kind, std::size_t bytes, Piece&& piece);

  std::array<Channel, 8> channels_;
  std::array<Chip, 2> chips_;
  Registers first_{*this, 0, 1};
  Registers second_{*this, 1, 2};
  Pages pages_{*this};
};

}  // namespace chronovisor
