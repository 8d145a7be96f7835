// Owns one split virtqueue: where the driver put its three parts, and which of the
// driver's buffers were taken. Every number of the guest's is checked where it is read:
// chains that loop, point out of the table or are too long are a broken queue. Knows no
// transport and no device. One thread a machine.
// Source: Virtual I/O Device (VIRTIO) 1.1, 2.6 "Split Virtqueues".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/state.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

class Virtqueue {
 public:
  static constexpr std::uint16_t kMostSize = 128;

  struct Segment {
    GuestPhysical address;
    std::uint32_t length_bytes = 0;
  };
  /// One request: what the device may read, then what it may write.
  struct Chain {
    std::vector<Segment> readable;
    std::vector<Segment> writable;
  };
  enum class Taken : std::uint8_t { none, one, broken };

  /// How many buffers the driver has made available; a broken queue has none.
  [[nodiscard]] std::uint16_t waiting(const DmaPort& dma) const;
  /// The next buffer that the driver has made available.
  [[nodiscard]] Taken take(DmaPort& dma, std::uint16_t& head);
  /// The chain that begins at `head`; nothing when it is malformed.
  /// @param indirect the driver may use tables of descriptors elsewhere
  [[nodiscard]] std::optional<Chain> chain(DmaPort& dma, std::uint16_t head, bool indirect) const;
  /// Gives a buffer back. @return whether the driver wants an interrupt for it
  [[nodiscard]] bool give_back(DmaPort& dma, std::uint16_t head, std::uint32_t written_bytes);

  void reset();
  void visit_state(StateVisitor& visitor, const std::string& prefix);

  // As the driver programs it.
  std::uint16_t size = kMostSize;
  bool enabled = false;
  std::uint16_t vector = 0xffff;
  std::uint64_t descriptors = 0;
  std::uint64_t available = 0;
  std::uint64_t used = 0;

 private:
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
};

}  // namespace chronovisor
