// Owns a virtio network card: one queue for what comes and one for what goes. Checksums
// and segmentation are the driver's work. Knows no transport but the one it is built on,
// and nothing of what it is plugged into. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 5.1 "Network Device".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/devices/core/input_output.h"
#include "vmm/devices/network/ethernet.h"
#include "vmm/devices/network/received_frame.h"
#include "vmm/devices/virtio/virtio_device.h"

namespace chronovisor {

/// Frames leave in bursts of up to 16 KiB, after which the line is busy for a nanosecond a
/// byte. A frame that comes before the driver is there is gone; while the driver has made
/// no room for an ordinary frame, the card says so, and the frame waits outside. One that
/// is longer than all the room there is, is gone.
class VirtioNet final : public VirtioDevice, public InputReceiver, private ReceivedFrame {
 public:
  /// @param number of the card among those of a machine; its section is "net0"
  VirtioNet(std::uint16_t number, PciAddress usual, const MacAddress& address,
            MessageInterrupts& messages, const Clock& clock, DmaBus& dma, OutputSink& outputs);

  [[nodiscard]] std::string_view name() const override { return section_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override { return transmit_due_ns_; }
  void advance(VirtualTime now) override;

  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;

 protected:
  [[nodiscard]] std::vector<std::uint8_t> configuration() const override;
  void notified(unsigned number) override;
  void device_reset() override;

 private:
  /// A buffer of the driver's that a frame goes to, or a part of it.
  struct Filled {
    std::uint16_t head;
    std::uint32_t bytes;
  };

  [[nodiscard]] std::size_t header_bytes() const;
  void transmit();
  [[nodiscard]] bool send_next();
  void store(ByteView frame);
  [[nodiscard]] std::vector<Filled> fill(ByteView bytes, GuestPhysical& count_at);
  void write_piece(GuestPhysical at, ByteView bytes, std::size_t from);

  const std::uint16_t number_;
  const std::string section_;
  const MacAddress address_;
  const Clock& clock_;
  OutputSink& outputs_;
  std::uint64_t line_free_ns_ = 0;          ///< what was sent is gone then
  std::uint64_t transmit_due_ns_ = kNever;  ///< more waits for the line
};

}  // namespace chronovisor
