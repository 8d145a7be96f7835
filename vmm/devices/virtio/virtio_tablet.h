// Owns a virtio input device that is a tablet: a pointer with a place on the screen, five
// buttons and a wheel. Knows no screen. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 5.8 "Input Device".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/devices/core/input_output.h"
#include "vmm/devices/virtio/virtio_device.h"

namespace chronovisor {

/// What comes before the driver is there is gone; while the driver has given too few
/// buffers for it, it waits outside.
class VirtioTablet final : public VirtioDevice, public InputReceiver {
 public:
  /// Both coordinates go from 0 to this.
  static constexpr std::uint16_t kMost = 0x7fff;
  struct Pointer {
    std::uint16_t x = 0;
    std::uint16_t y = 0;
    std::uint8_t buttons = 0;  ///< left, right, middle, side, extra
    std::int8_t wheel = 0;     ///< towards the user is positive, as with Ps2Mouse
  };
  static constexpr std::size_t kPointerBytes = 6;
  [[nodiscard]] static Bytes payload_of(const Pointer& pointer);

  VirtioTablet(PciAddress usual, MessageInterrupts& messages, DmaBus& dma);

  /// A driver listens.
  [[nodiscard]] bool in_use() const { return running(); }

  [[nodiscard]] std::string_view name() const override { return "tablet"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;

 protected:
  [[nodiscard]] std::vector<std::uint8_t> configuration() const override;
  void configuration_written(unsigned offset, std::uint8_t value) override;
  void notified(unsigned number) override;
  void device_reset() override;

 private:
  void put(std::uint16_t type, std::uint16_t code, std::uint32_t value);

  std::uint8_t select_ = 0;
  std::uint8_t subselect_ = 0;
  // As the driver was told last.
  std::uint16_t x_ = 0;
  std::uint16_t y_ = 0;
  std::uint8_t buttons_ = 0;
  bool wanted_ = false;  ///< during receive(): the driver wants to know
};

}  // namespace chronovisor
