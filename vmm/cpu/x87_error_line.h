// Owns the processor's FERR# and IGNNE# pins. A CpuEnvironment that is one of these
// too has a use for them; with any other, x87 errors are exceptions whatever CR0.NE
// says. One thread a machine.
#pragma once

#include <cstdint>

namespace chronovisor {

/// What comes of an x87 error while CR0.NE is 0.
enum class X87ErrorAnswer : std::uint8_t {
  wait,    ///< an interrupt was asked for; the instruction waits for one
  ignore,  ///< IGNNE# is asserted: the instruction is executed
};

class X87ErrorLine {
 public:
  virtual ~X87ErrorLine() = default;
  /// FERR#: a waiting x87 instruction found an unmasked error.
  virtual X87ErrorAnswer x87_error() = 0;
  /// FERR# is no longer asserted: the error was cleared.
  virtual void x87_error_cleared() = 0;
};

}  // namespace chronovisor
