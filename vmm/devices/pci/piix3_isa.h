// Owns the ISA bridge of the PIIX3: which ISA interrupt each of PCI's four lines goes
// to. What else the chip has (8259As, timer, reset control, IDE) are devices of their
// own. Knows no interrupt controller. One thread a machine.
// Source: Intel 82371SB (PIIX3) data sheet, "PCI to ISA Bridge Registers".
#pragma once

#include <array>
#include <cstdint>

#include "vmm/devices/pci/pci_device.h"

namespace chronovisor {

/// PIRQA# is the line that INTA# of device 1 has, as on the boards of the time: line
/// n of the bus is PIRQ n-1. The other registers keep what is written and change nothing.
class Piix3Isa final : public PciDevice, public InterruptSink {
 public:
  Piix3Isa(PciAddress usual, MessageInterrupts& messages);

  [[nodiscard]] std::string_view name() const override { return "piix3"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void set_up_by_firmware() override;

  /// Line 0 to 3 of the bus.
  void set_line(unsigned line, bool level) override;

 protected:
  void config_written(std::uint8_t offset) override;

 private:
  static constexpr unsigned kLines = 4;
  static constexpr unsigned kIsaInterrupts = 16;
  void route();

  std::array<bool, kLines> levels_{};  ///< of PIRQA# to PIRQD#
  std::array<InterruptPin, kIsaInterrupts> pins_;
};

}  // namespace chronovisor
