// Owns the ports that small guests write to when they want to end the run on
// whatever machine they find themselves: those of other emulators. One thread a
// machine.
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/devices/core/byte_port_device.h"

namespace chronovisor {

/// PM1 control where other machines have it (B004h: Bochs and older QEMUs; 4004h:
/// VirtualBox): SLP_EN ends the run, whatever the type. Reads are all ones; no state.
/// Ports: two bytes at offset 0.
class ForeignSleepControl final : public PortDevice {
 public:
  explicit ForeignSleepControl(std::function<void()> on_power_off);

  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  std::function<void()> on_power_off_;
};

/// The port that powers Bochs and older QEMUs off when "Shutdown" is written to it
/// byte by byte (8900h). A byte that does not go on with the word begins it anew.
class ShutdownWord final : public Device, public BytePortDevice {
 public:
  explicit ShutdownWord(std::function<void()> on_power_off);

  [[nodiscard]] std::string_view name() const override { return "shutdown_word"; }
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] bool as_after_reset() const override { return matched_ == 0; }

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  std::function<void()> on_power_off_;
  std::uint8_t matched_ = 0;  ///< characters of the word written so far
};

}  // namespace chronovisor
