// Owns what keys of a PC's keyboard are called, and which are pressed for a text. Knows
// no device. Plain functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

/// One thing that a text asks for.
struct TypedKey {
  Bytes press;                ///< codes of set 1, modifiers first
  Bytes release;              ///< the same keys let go, in the other order
  std::uint64_t wait_ns = 0;  ///< no key then: so long nothing happens
};

/// Characters as on a US keyboard; \n, \t, \e and \\ as in C; and names in angle brackets:
/// <enter>, <f1>, <ctrl-alt-delete>, or a time to wait, <2s>, <500ms>. <lt> is "<".
/// Throws Error{usage}, saying where, for a character or name that has no key.
[[nodiscard]] std::vector<TypedKey> typed_keys(std::string_view text);
/// Appends the bytes of a code of set 1, E0H in the upper byte where it has that prefix.
void add_scan_code(Bytes& out, std::uint16_t code, bool release);
/// The code of set 1 of the key that has the character, shifted or not.
[[nodiscard]] std::optional<std::uint16_t> scan_code_of_character(char character);
/// "2s", "500ms", "10us"; throws Error{usage} for what is no time.
[[nodiscard]] std::uint64_t wait_of(std::string_view text);

}  // namespace chronovisor
