// Owns the one rule for 8-bit devices on a wider bus: an access of 2 or 4 bytes
// is that many byte accesses at consecutive offsets, lowest first. One thread a
// machine.
#pragma once

#include <cstdint>

#include "vmm/devices/core/device.h"

namespace chronovisor {

class BytePortDevice : public PortDevice {
 public:
  std::uint32_t read_port(std::uint16_t offset, unsigned width) final {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < width; ++i) {
      value |= std::uint32_t{read_byte(static_cast<std::uint16_t>(offset + i))} << (8 * i);
    }
    return value;
  }
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) final {
    for (unsigned i = 0; i < width; ++i) {
      write_byte(static_cast<std::uint16_t>(offset + i),
                 static_cast<std::uint8_t>(value >> (8 * i)));
    }
  }

 protected:
  virtual std::uint8_t read_byte(std::uint16_t offset) = 0;
  virtual void write_byte(std::uint16_t offset, std::uint8_t value) = 0;
};

}  // namespace chronovisor
