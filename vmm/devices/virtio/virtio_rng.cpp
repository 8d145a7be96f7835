#include "vmm/devices/virtio/virtio_rng.h"

#include <algorithm>

#include "base/hash.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kEntropyDevice = 4;
constexpr std::uint16_t kTransitionalEntropy = 0x1005;
constexpr std::uint32_t kOtherDevice = 0x00ff00;
constexpr std::size_t kMostBytes = 4096;

}  // namespace

VirtioRng::VirtioRng(std::uint64_t seed, PciAddress usual, MessageInterrupts& messages, DmaBus& dma)
    : VirtioDevice(kEntropyDevice, kTransitionalEntropy, kOtherDevice, 0, 1, "rng", usual, messages,
                   dma),
      seed_(seed) {}

void VirtioRng::visit_state(StateVisitor& visitor) {
  VirtioDevice::visit_state(visitor);
  visitor.field("given", given_);
}

/// Eight bytes of the stream are the hash of the seed, what the stream is for, and their number.
std::uint8_t VirtioRng::next_byte() {
  const std::uint64_t number = given_ / 8;
  const unsigned within = given_++ % 8;
  ByteWriter out;
  out.integer(seed_);
  out.bytes(as_bytes("virtio-rng"));
  out.integer(number);
  return static_cast<std::uint8_t>(hash64(out.data()) >> (8 * within));
}

void VirtioRng::notified(unsigned /*number*/) {
  bool wanted = false;
  for (unsigned n = 0; n < Virtqueue::kMostSize; ++n) {
    std::uint16_t head = 0;
    const Virtqueue::Taken taken = queue(0).take(dma(), head);
    if (taken == Virtqueue::Taken::broken) broken();
    if (taken != Virtqueue::Taken::one) break;
    const auto chain = queue(0).chain(dma(), head, has(kIndirectDescriptors));
    if (!chain) {
      broken();
      break;
    }
    std::size_t done = 0;
    for (const Virtqueue::Segment& segment : chain->writable) {
      Bytes bytes(std::min<std::size_t>(segment.length_bytes, kMostBytes - done));
      if (bytes.empty()) continue;
      for (std::uint8_t& byte : bytes) byte = next_byte();
      (void)dma().write(segment.address, ByteView(bytes));
      done += bytes.size();
    }
    wanted = queue(0).give_back(dma(), head, static_cast<std::uint32_t>(done)) || wanted;
  }
  if (wanted) interrupt(0);
}

}  // namespace chronovisor
