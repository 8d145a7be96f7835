// Owns system control port A: fast A20 and fast reset. The A20 gate is always
// open, as on later PCs; the bit only reads back. One thread a machine.
//
// Ports: one, at offset 0.
// Source: Intel 82371SB (PIIX3) data sheet, "Port 92 Register".
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/devices/core/byte_port_device.h"

namespace chronovisor {

class SystemControl final : public Device, public BytePortDevice {
 public:
  /// Bit 0 went from 0 to 1.
  void on_reset_request(std::function<void()> callback);

  [[nodiscard]] std::string_view name() const override { return "system_control"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  static constexpr std::uint8_t kA20 = 0x02;
  std::uint8_t value_ = kA20;
  std::function<void()> reset_request_;
};

}  // namespace chronovisor
