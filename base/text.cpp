#include "base/text.h"

#include <array>
#include <cstdio>

namespace chronovisor {

std::string hex_text(std::uint64_t value) {
  std::array<char, 19> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace chronovisor
