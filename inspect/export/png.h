// Owns the writing of a picture as PNG: 8 bits a colour, no filter, one stream. Knows no
// screen. Plain function; any thread.
// Source: Portable Network Graphics (PNG) Specification (Second Edition), W3C.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace chronovisor {

/// @param rgb rows from the top, three bytes a pixel, red first
/// Throws Error{host} without memory for it.
[[nodiscard]] Bytes png_of(std::uint32_t width, std::uint32_t height, ByteView rgb);

}  // namespace chronovisor
