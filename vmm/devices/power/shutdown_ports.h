// Owns the ports that small guests write to when they want to end the run on
// whatever machine they find themselves: those of other emulators. One thread a
// machine.
#pragma once

#include <cstdint>
#include <string_view>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/machine_control.h"

namespace chronovisor {

/// PM1 control where other machines have it (B004h: Bochs and older QEMUs; 4004h:
/// VirtualBox): SLP_EN ends the run, whatever the type. Reads are all ones; no state.
/// Ports: two bytes at offset 0.
class ForeignSleepControl final : public Device, public PortDevice {
 public:
  /// @param name of the section that it would have if it had state
  ForeignSleepControl(std::string_view name, std::uint16_t usual_port, MachineControl& control)
      : name_(name), port_(usual_port), control_(control) {}

  [[nodiscard]] std::string_view name() const override { return name_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& /*visitor*/) override {}
  void reset() override {}
  [[nodiscard]] bool as_after_reset() const override { return true; }
  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  std::string_view name_;
  std::uint16_t port_;
  MachineControl& control_;
};

/// The port that powers Bochs and older QEMUs off when "Shutdown" is written to it
/// byte by byte (8900h). A byte that does not go on with the word begins it anew.
class ShutdownWord final : public Device, public BytePortDevice {
 public:
  explicit ShutdownWord(MachineControl& control) : control_(control) {}

  [[nodiscard]] std::string_view name() const override { return "shutdown_word"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] bool as_after_reset() const override { return matched_ == 0; }

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  MachineControl& control_;
  std::uint16_t port_ = 0;
  std::uint8_t matched_ = 0;  ///< characters of the word written so far
};

}  // namespace chronovisor
