// Owns the PC's circuit between the processor's FERR# and IGNNE# pins and IRQ 13,
// for kernels that leave CR0.NE at 0. Knows no CPU. One thread a machine.
//
// Port: 0xf0 at offset 0; any write. Reads are all ones.
// Source: Intel SDM vol. 1, "Guidelines for Writing x87 FPU Exception Handlers",
// MS-DOS compatibility sub-mode; Intel 82371SB (PIIX3), "Coprocessor Error Register".
#pragma once

#include <cstdint>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// FERR# raises IRQ 13. A write to the port takes the request back and asserts
/// IGNNE#, under which the processor goes on; that lasts until FERR# is gone.
class CoprocessorError final : public Device, public BytePortDevice {
 public:
  /// FERR# is asserted.
  /// @return whether IGNNE# is, so that the error counts for nothing
  bool error();
  /// FERR# is no longer asserted.
  void error_cleared() { ignored_ = false; }

  [[nodiscard]] std::string_view name() const override { return "coprocessor_error"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] bool as_after_reset() const override { return !request_.level() && !ignored_; }

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  InterruptPin request_;  ///< IRQ 13
  bool ignored_ = false;  ///< IGNNE#
};

}  // namespace chronovisor
