// Owns what all network cards know of Ethernet and of the protocols whose checksums
// they work out: addresses, limits, the frame check sequence, findings on checksums.
// Knows no card. Frames come from outside and from the guest: nothing in them is
// believed. Plain functions; any thread.
// Source: IEEE 802.3; RFC 1071, 791, 8200, 793, 768.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/internet.h"
#include "vmm/devices/core/card.h"
#include "vmm/devices/core/input_output.h"

namespace chronovisor {

/// Destination, source and type.
inline constexpr std::size_t kEthernetHeaderBytes = 14;
/// What is shorter is padded on the way, as every link does.
inline constexpr std::size_t kShortestFrameBytes = 60;
/// The longest that a machine takes or makes, without a frame check sequence. What is
/// longer is no frame.
inline constexpr std::size_t kLongestFrameBytes = 16384;

/// The CRC-32 at a frame's end, in the order of its bytes: lowest first.
[[nodiscard]] std::uint32_t frame_check_sequence(ByteView frame);

/// What a card can say of a received frame's checksums.
struct ChecksumFindings {
  bool ipv4 = false;       ///< there is an IPv4 header
  bool ipv4_good = false;  ///< and its checksum is right
  bool transport = false;  ///< TCP, or UDP with a checksum, on unfragmented IPv4
  bool transport_good = false;
};
[[nodiscard]] ChecksumFindings check_sums(ByteView frame);

}  // namespace chronovisor
