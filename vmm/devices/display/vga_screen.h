// Owns the drawing of a VGA's screen: a pure function of its registers, its video
// memory and virtual time. Knows no device and no file. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/devices/display/vga_state.h"

namespace chronovisor {

/// What a monitor would show: rows from the top, three bytes a pixel, red first.
struct ScreenImage {
  unsigned width = 0;   ///< pixels
  unsigned height = 0;  ///< pixels
  Bytes rgb;            ///< width × height × 3 bytes
};

/// Draws the screen. `memory` is all of video memory; what registers name beyond
/// its end reads as zeros. The cursor and blinking characters are as at `now`. A
/// screen that is switched off, or has an impossible size, is one of black.
[[nodiscard]] ScreenImage draw_screen(const VgaState& state, ByteView memory, VirtualTime now);

/// Where what a pixel is drawn from lies, as a processor reaches it.
struct PixelPlace {
  bool linear = false;       ///< in the linear frame buffer; else in A0000H to BFFFFH
  std::uint64_t offset = 0;  ///< from the beginning of either
  unsigned length_bytes = 0;
};
/// Of a text mode it is the character with its attributes.
/// @return nothing for what is not on the screen
[[nodiscard]] std::optional<PixelPlace> pixel_place(const VgaState& state, unsigned x, unsigned y);

/// The characters of a text mode, a line each without trailing blanks, as code page
/// 437 in UTF-8; empty in graphics modes.
[[nodiscard]] std::vector<std::string> screen_text(const VgaState& state, ByteView memory);

}  // namespace chronovisor
