#include "base/text.h"

#include <array>
#include <cstdio>

namespace chronovisor {

std::string hex_text(std::uint64_t value) {
  std::array<char, 19> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string markup_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string terminal_text(std::string text, std::string_view kept) {
  for (char& letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    const bool controls = code < 0x20 || code == 0x7f;
    if (controls && kept.find(letter) == std::string_view::npos) letter = '?';
  }
  return text;
}

bool is_utf8(std::string_view text) {
  const auto byte = [&](std::size_t n) { return static_cast<unsigned char>(text[n]); };
  for (std::size_t at = 0; at < text.size();) {
    const unsigned char first = byte(at);
    const std::size_t length = first < 0x80                     ? 1
                               : first >= 0xc2 && first <= 0xdf ? 2
                               : first >= 0xe0 && first <= 0xef ? 3
                               : first >= 0xf0 && first <= 0xf4 ? 4
                                                                : 0;
    if (length == 0 || text.size() - at < length) return false;
    for (std::size_t n = 1; n < length; ++n) {
      if ((byte(at + n) & 0xc0) != 0x80) return false;
    }
    if (length > 2) {  // overlong, a surrogate, or beyond the last character
      const unsigned char second = byte(at + 1);
      if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
          (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
        return false;
      }
    }
    at += length;
  }
  return true;
}

}  // namespace chronovisor
