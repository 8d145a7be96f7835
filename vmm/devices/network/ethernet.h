// Owns what all network cards know of Ethernet and of the protocols whose checksums
// they work out: addresses, limits, the frame check sequence, Internet checksums.
// Knows no card. Frames come from outside and from the guest: nothing in them is
// believed. Plain functions; any thread.
// Source: IEEE 802.3; RFC 1071, 791, 8200, 793, 768.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
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

/// Big-endian, as networks have it; 0 past the end.
[[nodiscard]] std::uint16_t network_word(ByteView bytes, std::size_t at);
/// Past the end it changes nothing.
void set_network_word(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value);

/// The CRC-32 at a frame's end, in the order of its bytes: lowest first.
[[nodiscard]] std::uint32_t frame_check_sequence(ByteView frame);

/// The ones' complement sum of 16-bit big-endian words, not complemented; an odd last
/// byte is the high one of a word.
[[nodiscard]] std::uint16_t internet_sum(ByteView bytes, std::uint32_t start = 0);

/// What a card can say of a received frame's checksums.
struct ChecksumFindings {
  bool ipv4 = false;       ///< there is an IPv4 header
  bool ipv4_good = false;  ///< and its checksum is right
  bool transport = false;  ///< TCP, or UDP with a checksum, on unfragmented IPv4
  bool transport_good = false;
};
[[nodiscard]] ChecksumFindings check_sums(ByteView frame);

}  // namespace chronovisor
