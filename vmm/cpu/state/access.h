// Owns the three ways in which memory is accessed.
#pragma once

#include <cstdint>

namespace chronovisor {

enum class Access : std::uint8_t { read, write, execute };

}  // namespace chronovisor
