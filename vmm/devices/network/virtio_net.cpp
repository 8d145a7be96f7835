#include "vmm/devices/network/virtio_net.h"

#include <algorithm>
#include <array>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kNetworkCard = 1;
constexpr std::uint16_t kTransitionalNetwork = 0x1000;
constexpr std::uint32_t kEthernetController = 0x020000;

constexpr std::uint64_t kHasAddress = 1ULL << 5;
constexpr std::uint64_t kMergedBuffers = 1ULL << 15;
constexpr std::uint64_t kHasStatus = 1ULL << 16;

constexpr unsigned kReceiveQueue = 0;
constexpr unsigned kTransmitQueue = 1;

/// Of drafts before 1.0 without merged buffers, and of all others.
constexpr std::size_t kShortHeaderBytes = 10;
constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kBufferCountAt = 10;  ///< in the header

/// An ordinary frame fits into so many buffers, whatever their size is.
constexpr std::uint16_t kRoomyBuffers = 4;

/// Preamble, frame check sequence and the gap between frames.
constexpr std::uint64_t kFramingBytes = 24;
constexpr std::uint64_t kNsPerByte = 1;
constexpr std::uint64_t kBurstNs = 16384 * kNsPerByte;

}  // namespace

VirtioNet::VirtioNet(std::uint16_t number, PciAddress usual, const MacAddress& address,
                     MessageInterrupts& messages, const Clock& clock, DmaBus& dma,
                     OutputSink& outputs)
    : VirtioDevice(kNetworkCard, kTransitionalNetwork, kEthernetController,
                   kHasAddress | kMergedBuffers | kHasStatus, 2, "net" + std::to_string(number),
                   usual, messages, dma),
      ReceivedFrame(clock),
      number_(number),
      section_("net" + std::to_string(number)),
      address_(address),
      clock_(clock),
      outputs_(outputs) {}

void VirtioNet::declare(Declaration& declaration) {
  VirtioDevice::declare(declaration);
  declaration.receives(InputKind::network_frame, *this);
  declaration.deadlines();
}

void VirtioNet::visit_state(StateVisitor& visitor) {
  VirtioDevice::visit_state(visitor);
  visitor.field("received", received_);
  visitor.field("line_free_ns", line_free_ns_);
  visitor.field("transmit_due_ns", transmit_due_ns_);
}

void VirtioNet::reset() {
  VirtioDevice::reset();
  received_ = 0;
  line_free_ns_ = 0;
}

void VirtioNet::device_reset() { transmit_due_ns_ = kNever; }

std::vector<std::uint8_t> VirtioNet::configuration() const {
  constexpr std::uint8_t kLinkUp = 1;
  std::vector<std::uint8_t> bytes(address_.begin(), address_.end());
  bytes.push_back(kLinkUp);
  bytes.push_back(0);
  return bytes;
}

std::size_t VirtioNet::header_bytes() const {
  return has(kVersion1) || has(kMergedBuffers) ? kHeaderBytes : kShortHeaderBytes;
}

// ---- transmitting --------------------------------------------------------------

void VirtioNet::notified(unsigned number) {
  if (number == kTransmitQueue && transmit_due_ns_ == kNever) transmit();
}

void VirtioNet::advance(VirtualTime now) {
  if (transmit_due_ns_ > now.ns) return;
  transmit_due_ns_ = kNever;
  transmit();
  deadline_changed();
}

void VirtioNet::transmit() {
  const std::uint64_t now = clock_.now().ns;
  const std::uint64_t burst_end = saturating_add(now, kBurstNs);
  line_free_ns_ = std::max(line_free_ns_, now);
  bool wanted = false;
  while (running() && queue(kTransmitQueue).waiting(dma()) > 0) {
    if (line_free_ns_ >= burst_end) {
      transmit_due_ns_ = line_free_ns_;
      break;
    }
    wanted = send_next() || wanted;
  }
  if (wanted) interrupt(kTransmitQueue);
  deadline_changed();
}

/// @return whether the driver wants to know
bool VirtioNet::send_next() {
  std::uint16_t head = 0;
  Virtqueue& queue = this->queue(kTransmitQueue);
  if (queue.take(dma(), head) != Virtqueue::Taken::one) {
    broken();
    return false;
  }
  const auto chain = queue.chain(dma(), head, has(kIndirectDescriptors));
  if (!chain) {
    broken();
    return false;
  }
  // What is longer than a frame may be is dropped, and need not be read to its end.
  const std::size_t most = header_bytes() + kLongestFrameBytes + 1;
  Bytes frame;
  for (const Virtqueue::Segment& segment : chain->readable) {
    const std::size_t count = std::min<std::size_t>(segment.length_bytes, most - frame.size());
    if (count == 0) continue;
    frame.resize(frame.size() + count);
    (void)dma().read(segment.address, std::span(frame).last(count));
  }
  line_free_ns_ = saturating_add(line_free_ns_, (frame.size() + kFramingBytes) * kNsPerByte);
  if (frame.size() >= header_bytes() + kEthernetHeaderBytes && frame.size() < most) {
    frame.erase(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header_bytes()));
    if (frame.size() < kShortestFrameBytes) frame.resize(kShortestFrameBytes);
    outputs_.put({OutputKind::frame, number_, frame});
  }
  return queue.give_back(dma(), head, 0);
}

// ---- receiving -----------------------------------------------------------------

void VirtioNet::receive(const Input& input) {
  ++received_;
  const std::size_t size = input.payload.size();
  if (running() && size >= kEthernetHeaderBytes && size <= kLongestFrameBytes) {
    store(input.payload);
  }
  deadline_changed();
}

bool VirtioNet::has_room(InputKind /*kind*/) const {
  if (!running()) return true;  // what would be dropped needs none
  const Virtqueue& queue = this->queue(kReceiveQueue);
  const std::uint16_t needed =
      has(kMergedBuffers) ? std::min(kRoomyBuffers, queue.size) : std::uint16_t{1};
  return queue.waiting(dma()) >= needed;
}

void VirtioNet::write_piece(GuestPhysical at, ByteView bytes, std::size_t from) {
  const std::size_t header = header_bytes();
  if (from < header) {
    const ByteView part = bytes.first(std::min(bytes.size(), header - from));
    (void)dma().write(at, part);
    at.value += part.size();
    from += part.size();
    bytes = bytes.subspan(part.size());
  }
  if (bytes.empty()) return;
  stored_ = from - header;
  const DmaPort::Doing doing(dma(), *this);
  (void)dma().write(at, bytes);
}

/// Puts header and frame into buffers of the driver's.
/// @param count_at where the number of buffers belongs, if it is there
/// @return the buffers; none when they do not hold all of it
std::vector<VirtioNet::Filled> VirtioNet::fill(ByteView bytes, GuestPhysical& count_at) {
  Virtqueue& queue = this->queue(kReceiveQueue);
  std::vector<Filled> filled;
  std::size_t done = 0;
  while (done < bytes.size()) {
    Filled buffer{};
    const bool more = filled.empty() || has(kMergedBuffers);
    if (!more || queue.waiting(dma()) == 0) return {};
    if (queue.take(dma(), buffer.head) != Virtqueue::Taken::one) {
      broken();
      return {};
    }
    const auto chain = queue.chain(dma(), buffer.head, has(kIndirectDescriptors));
    if (!chain) {
      broken();
      return {};
    }
    for (const Virtqueue::Segment& segment : chain->writable) {
      const std::size_t count = std::min<std::size_t>(segment.length_bytes, bytes.size() - done);
      if (count == 0) continue;
      write_piece(segment.address, bytes.subspan(done, count), done);
      if (done <= kBufferCountAt && done + count >= kHeaderBytes) {
        count_at = {segment.address.value + (kBufferCountAt - done)};
      }
      done += count;
      buffer.bytes += static_cast<std::uint32_t>(count);
    }
    filled.push_back(buffer);
  }
  return filled;
}

void VirtioNet::store(ByteView frame) {
  Virtqueue& queue = this->queue(kReceiveQueue);
  Bytes bytes(header_bytes());
  if (bytes.size() == kHeaderBytes) bytes[kBufferCountAt] = 1;
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  if (frame.size() < kShortestFrameBytes) bytes.resize(header_bytes() + kShortestFrameBytes);
  const Virtqueue before = queue;
  GuestPhysical count_at{kNever};
  const std::vector<Filled> filled = fill(bytes, count_at);
  if (filled.empty()) {
    queue = before;  // the buffers stay the driver's; what was written to them means nothing
    return;
  }
  if (filled.size() > 1 && count_at.value != kNever) {
    (void)dma().write(count_at, static_cast<std::uint16_t>(filled.size()));
  }
  bool wanted = false;
  for (const Filled& buffer : filled) {
    wanted = queue.give_back(dma(), buffer.head, buffer.bytes) || wanted;
  }
  if (wanted) interrupt(kReceiveQueue);
}

}  // namespace chronovisor
