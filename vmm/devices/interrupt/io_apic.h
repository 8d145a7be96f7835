// Owns the I/O APIC: 24 pins, their redirection entries, and the EOI hand-back
// of level-triggered interrupts. Knows no local APIC: messages leave through
// ApicBus. One thread a machine.
//
// Memory: 4 KiB.
// Source: Intel 82093AA data sheet; the EOI register and version 0x20 as in
// later Intel I/O hubs (ICH series data sheets).
#pragma once

#include <array>
#include <cstdint>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/interrupt/apic_bus.h"

namespace chronovisor {

/// Lines are given as asserted or not: the board is wired with the polarity
/// that the firmware tables announce, so the polarity bit is stored and read
/// back and changes nothing. An edge on a masked pin is lost, as in the data
/// sheet. Registers are 32 bits wide: narrower reads give a slice of them,
/// narrower writes to the window are dropped (IOREGSEL takes any width).
class IoApic final : public Device, public MmioDevice, public InterruptSink {
 public:
  static constexpr unsigned kPins = 24;
  explicit IoApic(ApicBus& bus);

  /// @param line the pin, 0-23; others are ignored
  void set_line(unsigned line, bool asserted) override;
  /// A local APIC's EOI broadcast, or a write to the EOI register: takes back
  /// remote IRR and sends again what is still asserted.
  void end_of_interrupt(std::uint8_t vector);
  /// Some unmasked pin delivers NMI.
  [[nodiscard]] bool routes_nmi() const;

  [[nodiscard]] std::string_view name() const override { return "io_apic"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  [[nodiscard]] std::uint32_t read_register(std::uint8_t index) const;
  void write_register(std::uint8_t index, std::uint32_t value);
  void send(unsigned pin);
  void send_if_level_pending(unsigned pin);

  ApicBus& bus_;
  std::uint8_t select_ = 0;
  std::uint8_t id_ = 0;
  std::uint32_t lines_ = 0;  ///< bit set: asserted
  std::array<std::uint64_t, kPins> entries_{};
};

}  // namespace chronovisor
