// Owns a virtio entropy device, which gives the numbers of a stream that begins at the
// machine's seed: the same in every replay, and no secret. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 5.4 "Entropy Device".
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/devices/virtio/virtio_device.h"

namespace chronovisor {

/// Answers take no time. A buffer gets 4 KiB at most.
class VirtioRng final : public VirtioDevice {
 public:
  VirtioRng(std::uint64_t seed, PciAddress usual, MessageInterrupts& messages, DmaBus& dma);

  [[nodiscard]] std::string_view name() const override { return "rng"; }
  void visit_state(StateVisitor& visitor) override;

 protected:
  [[nodiscard]] std::vector<std::uint8_t> configuration() const override { return {}; }
  void notified(unsigned number) override;
  /// The stream goes on: a driver that comes again gets other numbers.
  void device_reset() override {}

 private:
  [[nodiscard]] std::uint8_t next_byte();

  const std::uint64_t seed_;
  std::uint64_t given_ = 0;  ///< bytes
};

}  // namespace chronovisor
