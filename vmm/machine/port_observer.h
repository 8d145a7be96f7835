// Owns the view of a guest's accesses to ports that somebody outside the machine may
// have. It is no state, and the guest cannot notice it. The machine's thread.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace chronovisor {

/// A MachineObserver that is one of these too is told of ports as well.
class PortObserver {
 public:
  virtual ~PortObserver() = default;
  virtual void port_was_read(Position position, std::uint16_t port) = 0;
  virtual void port_was_written(Position position, std::uint16_t port, unsigned width,
                                std::uint32_t value) = 0;
};

}  // namespace chronovisor
