// Owns the debug console port: what is written goes to the sink, and a read
// says that the port is there. Has no state. One thread a machine.
//
// Ports: one, at offset 0.
// Source: the convention of Bochs' port 0xe9, which QEMU has at 0x402.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/input_output.h"

namespace chronovisor {

class DebugConsole final : public Device, public BytePortDevice {
 public:
  explicit DebugConsole(OutputSink& output, std::string name = "debug_console",
                        std::uint16_t port = 0xe9);

  [[nodiscard]] std::string_view name() const override { return name_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  OutputSink& output_;
  std::string name_;
  std::uint16_t port_;
  std::uint16_t number_ = 0;  ///< among the consoles
};

}  // namespace chronovisor
