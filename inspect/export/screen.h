// Owns the look at what a machine shows: its picture, and the characters of its text
// modes. A pure function of the machine's state. Plain functions; the machine's thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "vmm/devices/display/vga_screen.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// Whether the machine has a screen on which no mode was set yet.
[[nodiscard]] bool screen_is_unset(const Machine& machine);
/// @return nothing when the machine has no screen
[[nodiscard]] std::optional<ScreenImage> screen_of(const Machine& machine);
/// A pixel of the screen: its colour, and where what it is drawn from lies.
struct ScreenPixel {
  std::array<std::uint8_t, 3> rgb{};
  GuestPhysical address;
  unsigned length_bytes = 0;
};
/// @return nothing when the machine has no screen, or the screen not so many pixels
[[nodiscard]] std::optional<ScreenPixel> pixel_of(const Machine& machine, unsigned x, unsigned y);
/// The lines of a text mode, without trailing blanks; none in graphics modes. Nothing when
/// the machine has no screen.
[[nodiscard]] std::optional<std::vector<std::string>> screen_text_of(const Machine& machine);

}  // namespace chronovisor
