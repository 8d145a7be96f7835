// Owns how the Internet's protocols write numbers and sum them up. What is read comes from
// outside or from a guest: no place in it is believed. Plain functions; any thread.
// Source: RFC 791, 1071; IANA, "IEEE 802 Numbers" and "Protocol Numbers".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace chronovisor {

// What an Ethernet frame carries, and what a packet of the Internet protocol does.
inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherTypeArp = 0x0806;
inline constexpr std::uint16_t kEtherTypeVlan = 0x8100;
inline constexpr std::uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolIcmpv6 = 58;

/// Big-endian, as networks have it; 0 past the end.
[[nodiscard]] std::uint16_t network_word(ByteView bytes, std::size_t at);
/// Past the end it changes nothing.
void set_network_word(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value);
/// Two words, as far as they are there.
[[nodiscard]] std::uint32_t network_long(ByteView bytes, std::size_t at);
void set_network_long(std::span<std::uint8_t> bytes, std::size_t at, std::uint32_t value);

/// The ones' complement sum of 16-bit big-endian words, not complemented; an odd last
/// byte is the high one of a word.
[[nodiscard]] std::uint16_t internet_sum(ByteView bytes, std::uint32_t start = 0);

}  // namespace chronovisor
