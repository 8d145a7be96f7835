// Owns the tables between the scan codes of set 1, which software knows keys by, of set 2,
// which keyboards send, and of set 3, which they send when they are asked to. Knows no
// device. Plain functions; any thread.
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

/// What a keyboard sends in set 3, where each key has one byte and none a prefix.
/// @param prefix 0, E0H or E1H, of its code in set 1
/// @return 0 for what is no key there: the shifts that sets 1 and 2 put around some
[[nodiscard]] std::uint8_t set3_of_set1(std::uint8_t prefix, std::uint8_t code);
/// Codes of set 3 are below this.
inline constexpr unsigned kSet3Codes = 0x90;

/// What a key tells in set 3.
struct KeyKind {
  bool repeats = false;
  bool tells_release = false;
};
/// By its code in set 3, until the guest says otherwise.
[[nodiscard]] KeyKind usual_kind(std::uint8_t set3_code);

}  // namespace chronovisor
