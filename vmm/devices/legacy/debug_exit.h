// Owns the debug-exit port: the guest ends the run by writing to it. Has no
// state. One thread a machine.
//
// Ports: four, at offset 0, so that one write of any width arrives whole.
#pragma once

#include <cstdint>
#include <functional>

#include "vmm/devices/core/device.h"

namespace chronovisor {

/// A write at offset 0 is reported with its value, zero-extended; writes at
/// other offsets are dropped; reads are all ones.
class DebugExit final : public Device, public PortDevice {
 public:
  explicit DebugExit(std::function<void(std::uint32_t value)> on_exit);

  [[nodiscard]] std::string_view name() const override { return "debug_exit"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
  void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

 private:
  std::function<void(std::uint32_t)> on_exit_;
};

}  // namespace chronovisor
