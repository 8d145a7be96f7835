// Owns how numbers are written in messages, text in XML and HTML, and what is text at all.
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace chronovisor {

/// "0x" and lower-case digits.
[[nodiscard]] std::string hex_text(std::uint64_t value);

/// `text` with &, <, > and " as entities.
[[nodiscard]] std::string markup_text(std::string_view text);

/// `text` as a terminal can take it, which obeys control characters: they become '?', but for
/// those in `kept`.
[[nodiscard]] std::string terminal_text(std::string text, std::string_view kept = {});

/// Whether `text` is UTF-8: no cut or overlong sequences, no surrogates, nothing beyond
/// U+10FFFF. (The Unicode Standard, "Unicode Encoding Forms", table of well-formed UTF-8)
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace chronovisor
