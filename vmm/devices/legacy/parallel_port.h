// Owns a PC's first parallel port with a printer that is always ready: a byte is printed
// when the strobe falls. Knows no file. One thread a machine.
//
// Ports: data, status and control at offsets 0 to 2. IRQ 7.
// Source: IBM PC AT Technical Reference, "Serial/Parallel Adapter".
#pragma once

#include <cstdint>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// A byte is acknowledged at once, by an edge of IRQ 7 where the driver asked for it. The
/// port is for output: bit 5 of control, by which later ports read, is kept and reads back
/// what was written.
class ParallelPort final : public Device, public BytePortDevice {
 public:
  explicit ParallelPort(OutputSink& outputs) : outputs_(outputs) {}

  [[nodiscard]] std::string_view name() const override { return "parallel"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  OutputSink& outputs_;
  std::uint8_t data_ = 0;
  std::uint8_t control_ = 0;
  InterruptPin irq_;
};

}  // namespace chronovisor
