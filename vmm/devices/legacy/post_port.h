// Owns the POST port, where firmware writes progress codes and kernels write to
// pass the time. It only remembers the last byte. One thread a machine.
//
// Ports: one, at offset 0.
#pragma once

#include <cstdint>

#include "vmm/devices/core/byte_port_device.h"

namespace chronovisor {

class PostPort final : public Device, public BytePortDevice {
 public:
  [[nodiscard]] std::uint8_t code() const { return code_; }

  [[nodiscard]] std::string_view name() const override { return "post_port"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  std::uint8_t code_ = 0;
};

}  // namespace chronovisor
