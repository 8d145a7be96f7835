// Owns a virtio console of one port: bytes that go out, and bytes that come in. Knows no
// terminal. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 5.3 "Console Device".
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/devices/core/input_output.h"
#include "vmm/devices/virtio/virtio_device.h"

namespace chronovisor {

/// What is sent is gone at once. What comes before the driver is there is gone; while it
/// has given no buffer, it waits outside.
class VirtioConsole final : public VirtioDevice, public InputReceiver {
 public:
  VirtioConsole(PciAddress usual, MessageInterrupts& messages, DmaBus& dma, OutputSink& outputs);

  [[nodiscard]] std::string_view name() const override { return "console"; }
  void declare(Declaration& declaration) override;
  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;

 protected:
  [[nodiscard]] std::vector<std::uint8_t> configuration() const override;
  void notified(unsigned number) override;
  void device_reset() override {}

 private:
  OutputSink& outputs_;
};

}  // namespace chronovisor
