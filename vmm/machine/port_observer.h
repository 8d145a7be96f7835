// Owns the view of a guest's accesses to ports that somebody outside the machine may
// have. It is no state, and the guest cannot notice it. The machine's thread.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace chronovisor {

/// Told of accesses by Machine::set_port_observer.
class PortObserver {
 public:
  virtual ~PortObserver() = default;
  virtual void port_was_read(Position position, std::uint16_t port) = 0;
  virtual void port_was_written(Position position, std::uint16_t port, unsigned width,
                                std::uint32_t value) = 0;
};

}  // namespace chronovisor
