// Owns the tables between the scan codes of set 1, which software knows keys by, and of
// set 2, which keyboards send. Knows no device. Plain functions; any thread.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-key)".
#pragma once

#include <cstdint>

namespace chronovisor {

/// What a keyboard sends in set 2 for the key with this code in set 1 (without the bit
/// that says it was released), with the same prefix.
[[nodiscard]] std::uint8_t set2_of_set1(std::uint8_t code);
/// What a keyboard controller makes of a byte of set 2 when it translates. Bytes above
/// 84H are answers, and stay as they are.
[[nodiscard]] std::uint8_t translated(std::uint8_t byte);

}  // namespace chronovisor
