// Owns how the Internet's protocols write numbers and sum them up. What is read comes from
// outside or from a guest: no place in it is believed. Plain functions; any thread.
// Source: RFC 791, 1071.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace chronovisor {

/// Big-endian, as networks have it; 0 past the end.
[[nodiscard]] std::uint16_t network_word(ByteView bytes, std::size_t at);
/// Past the end it changes nothing.
void set_network_word(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value);

/// The ones' complement sum of 16-bit big-endian words, not complemented; an odd last
/// byte is the high one of a word.
[[nodiscard]] std::uint16_t internet_sum(ByteView bytes, std::uint32_t start = 0);

}  // namespace chronovisor
