#include "vmm/devices/virtio/virtio_console.h"

#include <algorithm>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kConsoleDevice = 3;
constexpr std::uint16_t kTransitionalConsole = 0x1003;
constexpr std::uint32_t kSerialController = 0x078000;
constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;
constexpr unsigned kQueues = 2;
constexpr std::size_t kMostBytes = 65536;  // of one buffer; what is longer is cut

}  // namespace

VirtioConsole::VirtioConsole(PciAddress usual, MessageInterrupts& messages, DmaBus& dma,
                             OutputSink& outputs)
    : VirtioDevice(kConsoleDevice, kTransitionalConsole, kSerialController, 0, kQueues, "console",
                   usual, messages, dma),
      outputs_(outputs) {}

void VirtioConsole::declare(Declaration& declaration) {
  VirtioDevice::declare(declaration);
  declaration.receives(InputKind::serial_byte, *this);
}

/// Columns, rows, ports: of which only the last is offered.
std::vector<std::uint8_t> VirtioConsole::configuration() const {
  return {80, 0, 25, 0, 1, 0, 0, 0};
}

void VirtioConsole::notified(unsigned number) {
  if (number != kTransmit) return;
  Virtqueue& transmit = queue(kTransmit);
  bool wanted = false;
  for (unsigned n = 0; n < Virtqueue::kMostSize; ++n) {
    std::uint16_t head = 0;
    const Virtqueue::Taken taken = transmit.take(dma(), head);
    if (taken == Virtqueue::Taken::broken) broken();
    if (taken != Virtqueue::Taken::one) break;
    const auto chain = transmit.chain(dma(), head, has(kIndirectDescriptors));
    if (!chain) {
      broken();
      break;
    }
    Bytes sent;
    for (const Virtqueue::Segment& segment : chain->readable) {
      const std::size_t count =
          std::min<std::size_t>(segment.length_bytes, kMostBytes - sent.size());
      if (count == 0) continue;
      sent.resize(sent.size() + count);
      (void)dma().read(segment.address, std::span(sent).last(count));
    }
    if (!sent.empty()) outputs_.put({OutputKind::console, 0, sent});
    wanted = transmit.give_back(dma(), head, 0) || wanted;
  }
  if (wanted) interrupt(kTransmit);
}

bool VirtioConsole::has_room(InputKind /*kind*/) const {
  return !running() || queue(kReceive).waiting(dma()) != 0;
}

void VirtioConsole::receive(const Input& input) {
  if (!running() || input.payload.empty()) return;
  Virtqueue& receive = queue(kReceive);
  std::uint16_t head = 0;
  const Virtqueue::Taken taken = receive.take(dma(), head);
  if (taken == Virtqueue::Taken::broken) broken();
  if (taken != Virtqueue::Taken::one) return;
  const auto chain = receive.chain(dma(), head, has(kIndirectDescriptors));
  if (!chain) {
    broken();
    return;
  }
  std::size_t done = 0;
  for (const Virtqueue::Segment& segment : chain->writable) {
    const std::size_t count =
        std::min<std::size_t>(segment.length_bytes, input.payload.size() - done);
    if (count == 0) continue;
    (void)dma().write(segment.address, ByteView(input.payload).subspan(done, count));
    done += count;
  }
  if (receive.give_back(dma(), head, static_cast<std::uint32_t>(done))) interrupt(kReceive);
}

}  // namespace chronovisor
