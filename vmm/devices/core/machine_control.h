// Owns what a device may ask of the whole machine. It happens after the step that
// is executing; the first request counts. One thread a machine.
#pragma once

#include <cstdint>

namespace chronovisor {

class MachineControl {
 public:
  virtual ~MachineControl() = default;
  virtual void power_off() = 0;
  virtual void reset_machine() = 0;
  /// The guest ends the run and gives a number.
  virtual void debug_exit(std::uint32_t code) = 0;
};

}  // namespace chronovisor
