// The transmit ring of the 82540EM.
#include <algorithm>

#include "vmm/devices/core/tick_rate.h"
#include "vmm/devices/network/e1000.h"
#include "vmm/devices/network/e1000_registers.h"

namespace chronovisor {
namespace {

using namespace e1000;

// Bits of a descriptor's command byte, which is bits 31:24 of its high quadword.
constexpr std::uint8_t kEndOfPacket = 1U << 0;
constexpr std::uint8_t kInsertChecksum = 1U << 2;  // legacy
constexpr std::uint8_t kSegment = 1U << 2;         // extended
constexpr std::uint8_t kReportStatus = 1U << 3;
constexpr std::uint8_t kExtended = 1U << 5;
constexpr std::uint8_t kVlanEnable = 1U << 6;
constexpr std::uint8_t kDelayed = 1U << 7;
constexpr unsigned kTypeContext = 0;
constexpr unsigned kTypeData = 1;
constexpr std::uint8_t kInsertIp = 1U << 0;
constexpr std::uint8_t kInsertTransport = 1U << 1;
constexpr std::uint8_t kDone = 1U << 0;

constexpr std::uint64_t kNsPerByte = 8;
/// Preamble, frame check sequence and the gap between frames.
constexpr std::uint64_t kFramingBytes = 24;
/// What looking at a descriptor takes at least.
constexpr std::uint64_t kDescriptorNs = 64;
constexpr std::uint64_t kBurstNs = 16384 * kNsPerByte;

constexpr std::size_t kPieceBytes = 4096;

std::uint8_t command_of(std::uint64_t high) { return static_cast<std::uint8_t>(high >> 24); }

}  // namespace

void E1000::transmit() {
  if ((plain(kTctl) & tctl::kEnable) == 0 || !is_bus_master()) return;
  const std::uint64_t now = clock_.now().ns;
  const std::uint64_t burst_end = saturating_add(now, kBurstNs);
  line_free_ns_ = std::max(line_free_ns_, now);
  Ring now_ring = ring(kTdbal);
  if (now_ring.ready() == 0) return;
  while (now_ring.ready() > 0 && line_free_ns_ < burst_end) {
    take_descriptor(now_ring);
    line_free_ns_ = saturating_add(line_free_ns_, kDescriptorNs);
    now_ring.head = (now_ring.head + 1) % now_ring.count;
    plain(kTdh) = now_ring.head;
  }
  if (now_ring.ready() > 0) {
    transmit_due_ns_ = line_free_ns_;
  } else {
    cause(interrupt::kTxqe);
  }
  deadline_changed();
}

void E1000::take_descriptor(const Ring& ring) {
  const GuestPhysical at{ring.base + std::uint64_t{ring.head} * 16};
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  (void)dma_.read(at, low);
  (void)dma_.read(GuestPhysical{at.value + 8}, high);
  const std::uint8_t command = command_of(high);
  const bool extended = (command & kExtended) != 0;
  const unsigned type = high >> 20 & 15;
  if (extended && type == kTypeContext) {
    assembler_.set_context(low, high);
  } else if (!extended || type == kTypeData) {
    if (!assembler_.open()) {
      const auto options = static_cast<std::uint8_t>(extended ? high >> 40 : 0);
      const bool segmented = extended && (command & kSegment) != 0;
      assembler_.begin({.segmented = segmented,
                        .insert_ip = (options & kInsertIp) != 0,
                        .insert_transport = (options & kInsertTransport) != 0});
      if (segmented) count(kTsctc);
    }
    if ((command & kVlanEnable) != 0) {
      insert_vlan_ = true;
      vlan_tag_ = static_cast<std::uint16_t>(high >> 48);
    }
    gather(low, extended ? std::min<std::size_t>(high & 0xfffff, 0xffff) : high & 0xffff);
    if ((command & kEndOfPacket) != 0) {
      if (!extended && (command & kInsertChecksum) != 0) {
        assembler_.insert_at_end(static_cast<std::uint8_t>(high >> 40),
                                 static_cast<std::uint8_t>(high >> 16));
      }
      assembler_.finish();
      insert_vlan_ = false;
    }
  }
  if ((command & kReportStatus) == 0) return;
  (void)dma_.write(GuestPhysical{at.value + 12},
                   static_cast<std::uint8_t>((high >> 32 & 0xff) | kDone));
  if ((command & kDelayed) != 0 && plain(kTidv) != 0) {
    start_timer(transmit_timer_ns_, plain(kTidv));
    if (plain(kTadv) != 0 && transmit_limit_ns_ == kNever) {
      start_timer(transmit_limit_ns_, plain(kTadv));
    }
  } else {
    transmit_timer_ns_ = transmit_limit_ns_ = kNever;
    cause(interrupt::kTxdw);
  }
}

/// Brings what a descriptor points to, as much as is of use.
void E1000::gather(std::uint64_t address, std::size_t bytes) {
  std::array<std::uint8_t, kPieceBytes> piece{};
  while (bytes > 0) {
    const std::size_t size = std::min({bytes, assembler_.wanted(), piece.size()});
    if (size == 0) return;
    const auto part = std::span(piece).first(size);
    (void)dma_.read(GuestPhysical{address}, part);
    assembler_.add(part);
    address += size;
    bytes -= size;
  }
}

void E1000::assembled(Bytes& frame) {
  if (frame.size() < kEthernetHeaderBytes) return;
  if (insert_vlan_ && (control_ & ctrl::kVlanMode) != 0) {
    const auto type = static_cast<std::uint16_t>(plain(kVet));
    const std::array<std::uint8_t, 4> tag{
        static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type),
        static_cast<std::uint8_t>(vlan_tag_ >> 8), static_cast<std::uint8_t>(vlan_tag_)};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  }
  if (frame.size() > kLongestFrameBytes) return;
  if (frame.size() < kShortestFrameBytes) frame.resize(kShortestFrameBytes);
  line_free_ns_ = saturating_add(line_free_ns_, (frame.size() + kFramingBytes) * kNsPerByte);
  constexpr std::size_t kCrcBytes = 4;
  count(kTpt);
  count(kGptc);
  count_wide(kTotl, frame.size() + kCrcBytes);
  count_wide(kGotcl, frame.size() + kCrcBytes);
  count_size(kPtc64, frame.size() + kCrcBytes);
  if ((frame[0] & 1) != 0) {
    const bool broadcast = std::all_of(frame.begin(), frame.begin() + 6,
                                       [](std::uint8_t byte) { return byte == 0xff; });
    count(broadcast ? kBptc : kMptc);
  }
  if (phy_.loopback() || (plain(kRctl) & rctl::kLoopback) != 0) {
    take_in(frame);
  } else if (phy_.link_up()) {
    outputs_.put({OutputKind::frame, number_, frame});
  }
}

}  // namespace chronovisor
