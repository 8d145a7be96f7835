// Owns how numbers are written in messages. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace chronovisor {

/// "0x" and lower-case digits.
[[nodiscard]] std::string hex_text(std::uint64_t value);

}  // namespace chronovisor
