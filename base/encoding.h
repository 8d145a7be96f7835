// Owns how bytes are written into a text. Plain functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace chronovisor {

/// The value of one hexadecimal digit, or -1.
[[nodiscard]] int hex_digit(char c);
/// Appends two lower-case digits for each byte.
void append_hex(std::string& out, ByteView bytes);
/// Two lower-case digits a byte.
[[nodiscard]] std::string hex_text(ByteView bytes);
/// The bytes of such a text, digits of either case; nothing when it is none.
[[nodiscard]] std::optional<Bytes> bytes_of_hex(std::string_view text);
/// Source: RFC 4648, 4.
[[nodiscard]] std::string base64_text(ByteView bytes);

}  // namespace chronovisor
