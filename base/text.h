// Owns how numbers are written in messages, and text in XML and HTML. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace chronovisor {

/// "0x" and lower-case digits.
[[nodiscard]] std::string hex_text(std::uint64_t value);

/// `text` with &, <, > and " as entities.
[[nodiscard]] std::string markup_text(std::string_view text);

}  // namespace chronovisor
