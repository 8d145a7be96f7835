// Owns the debug-exit port: the guest ends the run by writing to it. Has no
// state. One thread a machine.
//
// Ports: four, at offset 0, so that one write of any width arrives whole.
#pragma once

#include <cstdint>
#include <string_view>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/machine_control.h"

namespace chronovisor {

/// A write at offset 0 is reported with its value, zero-extended; writes at
/// other offsets are dropped; reads are all ones.
class DebugExit final : public Device, public PortDevice {
 public:
  /// Whether states have an (empty) section of its name.
  enum class Section : std::uint8_t { always, never };

  /// @param name of its section
  /// @param ports how many, from `usual_port` on
  DebugExit(std::string_view name, std::uint16_t usual_port, std::uint32_t ports, Section section,
            MachineControl& control)
      : name_(name), port_(usual_port), ports_(ports), section_(section), control_(control) {}

  [[nodiscard]] std::string_view name() const override { return name_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] bool as_after_reset() const override { return section_ == Section::never; }
  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  std::string_view name_;
  std::uint16_t port_;
  std::uint32_t ports_;
  Section section_;
  MachineControl& control_;
};

}  // namespace chronovisor
