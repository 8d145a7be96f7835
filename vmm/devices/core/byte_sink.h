// Owns the shape of "somewhere a device's output bytes go". Knows neither the
// device nor the destination. One thread a machine.
#pragma once

#include <cstdint>

namespace chronovisor {

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void write_byte(std::uint8_t byte) = 0;
};

}  // namespace chronovisor
