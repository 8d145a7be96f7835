// The receive ring of the 82540EM, and which frames come that far.
#include <algorithm>

#include "vmm/devices/network/e1000.h"
#include "vmm/devices/network/e1000_registers.h"

namespace chronovisor {
namespace {

using namespace e1000;

constexpr std::size_t kCrcBytes = 4;
/// With a frame check sequence and a VLAN tag.
constexpr std::size_t kLongestUsual = 1522;

// Status and errors of a descriptor.
constexpr std::uint8_t kDone = 1U << 0;
constexpr std::uint8_t kEndOfPacket = 1U << 1;
constexpr std::uint8_t kIgnoreChecksums = 1U << 2;
constexpr std::uint8_t kVlanPacket = 1U << 3;
constexpr std::uint8_t kTransportChecked = 1U << 5;
constexpr std::uint8_t kIpChecked = 1U << 6;
constexpr std::uint8_t kInexactFilter = 1U << 7;
constexpr std::uint8_t kTransportError = 1U << 5;
constexpr std::uint8_t kIpError = 1U << 6;

constexpr std::uint32_t kAddressValid = 1U << 31;

bool is_broadcast(ByteView frame) {
  return std::all_of(frame.begin(), frame.begin() + 6,
                     [](std::uint8_t byte) { return byte == 0xff; });
}

}  // namespace

void E1000::receive(const Input& input) {
  ++received_;
  if (!phy_.loopback() && (plain(kRctl) & rctl::kLoopback) == 0) take_in(input.payload);
  deadline_changed();
}

bool E1000::listens() const {
  return (plain(kRctl) & rctl::kEnable) != 0 && is_bus_master() &&
         (phy_.link_up() || phy_.loopback());
}

/// What would be dropped needs no room.
bool E1000::has_room(InputKind /*kind*/) const {
  if (!listens()) return true;
  const Ring now = ring(kRdbal);
  const bool longer = (plain(kRctl) & rctl::kLongPackets) != 0;
  std::uint64_t needed = longer ? kLongestFrameBytes + kCrcBytes : kLongestUsual;
  // A ring that can never hold a longest frame takes what it can.
  if (now.count > 0) needed = std::min(needed, (now.count - 1) * std::uint64_t{buffer_bytes()});
  return now.ready() > 0 && room_bytes(now) >= needed;
}

std::size_t E1000::buffer_bytes() const {
  const unsigned size = plain(kRctl) >> rctl::kSizeShift & 3;
  if ((plain(kRctl) & rctl::kSizeExtension) != 0 && size != 0) return std::size_t{32768} >> size;
  return std::size_t{2048} >> size;
}

std::uint64_t E1000::room_bytes(const Ring& ring) const {
  return std::uint64_t{ring.ready()} * buffer_bytes();
}

E1000::Match E1000::match(ByteView frame) const {
  const std::uint32_t control = plain(kRctl);
  if (is_broadcast(frame)) {
    if ((control & (rctl::kBroadcast | rctl::kMulticastPromiscuous)) != 0) return Match::exact;
  }
  const bool multicast = (frame[0] & 1) != 0;
  if ((control & (multicast ? rctl::kMulticastPromiscuous : rctl::kUnicastPromiscuous)) != 0) {
    return Match::inexact;
  }
  for (std::size_t n = 0; n < addresses_.size(); n += 2) {
    if ((addresses_[n + 1] & kAddressValid) == 0) continue;
    bool same = true;
    for (unsigned byte = 0; byte < 6; ++byte) {
      const std::uint32_t word = addresses_[n + byte / 4];
      same = same && frame[byte] == static_cast<std::uint8_t>(word >> (8 * (byte % 4)));
    }
    if (same) return Match::exact;
  }
  if (!multicast) return Match::none;
  constexpr std::array<unsigned, 4> kShifts{4, 3, 2, 0};
  const unsigned shift = kShifts[control >> rctl::kMulticastShift & 3];
  const unsigned hash = (static_cast<unsigned>(frame[5] << 8 | frame[4]) >> shift) & 0xfff;
  return (multicast_[hash / 32] >> (hash % 32) & 1) != 0 ? Match::inexact : Match::none;
}

bool E1000::vlan_allowed(ByteView frame) const {
  if ((plain(kRctl) & rctl::kVlanFilter) == 0 || !is_tagged(frame)) return true;
  const unsigned vlan = network_word(frame, 14) & 0xfff;
  return (vlans_[vlan / 32] >> (vlan % 32) & 1) != 0;
}

bool E1000::is_tagged(ByteView frame) const {
  return frame.size() >= kEthernetHeaderBytes + 4 && network_word(frame, 12) == plain(kVet);
}

void E1000::take_in(ByteView incoming) {
  if (!listens()) return;
  if (incoming.size() < kEthernetHeaderBytes) {
    count(kRuc);
    return;
  }
  const std::size_t longest =
      (plain(kRctl) & rctl::kLongPackets) != 0 ? kLongestFrameBytes : kLongestUsual - kCrcBytes;
  if (incoming.size() > longest) {
    count(kRoc);
    return;
  }
  Bytes frame(incoming.begin(), incoming.end());
  if (frame.size() < kShortestFrameBytes) frame.resize(kShortestFrameBytes);
  count(kTpr);
  count_wide(kTorl, frame.size() + kCrcBytes);
  const Match how = match(frame);
  if (how == Match::none || !vlan_allowed(frame)) return;

  std::uint8_t status = how == Match::inexact ? kInexactFilter : 0;
  std::uint8_t errors = 0;
  judge_checksums(frame, status, errors);
  Bytes stored = frame;
  std::uint16_t tag = 0;
  if ((control_ & ctrl::kVlanMode) != 0 && is_tagged(frame)) {
    tag = network_word(frame, 14);
    status |= kVlanPacket;
    stored.erase(stored.begin() + 12, stored.begin() + 16);
  }
  const std::size_t checksum_from = plain(kRxcsum) & 0xff;
  const std::uint16_t sum =
      checksum_from < stored.size() ? internet_sum(ByteView(stored).subspan(checksum_from)) : 0;
  if ((plain(kRctl) & rctl::kStripCrc) == 0) {
    const std::uint32_t crc = frame_check_sequence(frame);
    for (unsigned n = 0; n < kCrcBytes; ++n) {
      stored.push_back(static_cast<std::uint8_t>(crc >> (8 * n)));
    }
  }
  if (room_bytes(ring(kRdbal)) < stored.size()) {
    count(kRnbc);
    count(kMpc);
    cause(interrupt::kRxo);
    return;
  }
  count(kGprc);
  count_wide(kGorcl, frame.size() + kCrcBytes);
  count_size(kPrc64, frame.size() + kCrcBytes);
  if ((frame[0] & 1) != 0) count(is_broadcast(frame) ? kBprc : kMprc);
  store(stored, {.checksum = sum, .status = status, .errors = errors, .tag = tag});
  announce();
}

void E1000::judge_checksums(ByteView frame, std::uint8_t& status, std::uint8_t& errors) const {
  const std::uint32_t wanted = plain(kRxcsum) & (rxcsum::kIp | rxcsum::kTransport);
  const ChecksumFindings found = wanted != 0 ? check_sums(frame) : ChecksumFindings{};
  const bool ip = found.ipv4 && (wanted & rxcsum::kIp) != 0;
  const bool transport = found.transport && (wanted & rxcsum::kTransport) != 0;
  if (ip) status |= kIpChecked;
  if (ip && !found.ipv4_good) errors |= kIpError;
  if (transport) status |= kTransportChecked;
  if (transport && !found.transport_good) errors |= kTransportError;
  if (!ip && !transport) status |= kIgnoreChecksums;
}

void E1000::store(ByteView bytes, const WriteBack& last) {
  Ring now = ring(kRdbal);
  const std::size_t buffer = buffer_bytes();
  stored_ = 0;
  while (!bytes.empty() && now.ready() > 0) {
    const GuestPhysical at{now.base + std::uint64_t{now.head} * 16};
    std::uint64_t address = 0;
    (void)dma_.read(at, address);
    const ByteView piece = bytes.first(std::min(buffer, bytes.size()));
    bytes = bytes.subspan(piece.size());
    // A descriptor without a buffer is used up, and what belongs there is lost.
    if (address != 0) {
      const DmaPort::Doing doing(dma_, *this);
      (void)dma_.write(GuestPhysical{address}, piece);
    }
    stored_ += piece.size();
    std::uint64_t word = piece.size() | std::uint64_t{kDone} << 32;
    if (bytes.empty()) {
      const auto status = static_cast<std::uint8_t>(last.status | kDone | kEndOfPacket);
      word = piece.size() | std::uint64_t{last.checksum} << 16 | std::uint64_t{status} << 32 |
             std::uint64_t{last.errors} << 40 | std::uint64_t{last.tag} << 48;
    }
    (void)dma_.write(GuestPhysical{at.value + 8}, word);
    now.head = (now.head + 1) % now.count;
    plain(kRdh) = now.head;
  }
}

/// Says that a frame is there: at once, or when the driver wants to hear of it.
void E1000::announce() {
  const Ring now = ring(kRdbal);
  const unsigned share = (plain(kRctl) >> rctl::kThresholdShift & 3) + 1;
  std::uint32_t bits = now.ready() <= now.count >> share ? interrupt::kRxdmt0 : 0;
  if (plain(kRdtr) == 0) {
    bits |= interrupt::kRxt0;
  } else {
    start_timer(receive_timer_ns_, plain(kRdtr));
    if (plain(kRadv) != 0 && receive_limit_ns_ == kNever) {
      start_timer(receive_limit_ns_, plain(kRadv));
    }
  }
  if (bits != 0) cause(bits);
}

}  // namespace chronovisor
