// What a US keyboard has of X11's keysyms. A viewer sends the character that it typed, and
// the shift key by itself: the guest sees both.
#include <map>
#include <string_view>

#include "host/display/vnc_server.h"
#include "host/key_text.h"

namespace chronovisor {
namespace {

/// Source: X.Org, keysymdef.h
const std::map<std::uint32_t, std::uint16_t>& function_keys() {
  static const std::map<std::uint32_t, std::uint16_t> keys = [] {
    std::map<std::uint32_t, std::uint16_t> all{
        {0xff08, 0x0e},    // BackSpace
        {0xff09, 0x0f},    // Tab
        {0xfe20, 0x0f},    // ISO_Left_Tab
        {0xff0d, 0x1c},    // Return
        {0xff14, 0x46},    // Scroll_Lock
        {0xff1b, 0x01},    // Escape
        {0xff50, 0xe047},  // Home
        {0xff51, 0xe04b},  // Left
        {0xff52, 0xe048},  // Up
        {0xff53, 0xe04d},  // Right
        {0xff54, 0xe050},  // Down
        {0xff55, 0xe049},  // Page_Up
        {0xff56, 0xe051},  // Page_Down
        {0xff57, 0xe04f},  // End
        {0xff63, 0xe052},  // Insert
        {0xff67, 0xe05d},  // Menu
        {0xff7f, 0x45},    // Num_Lock
        {0xff8d, 0xe01c},  // KP_Enter
        {0xffaa, 0x37},    // KP_Multiply
        {0xffab, 0x4e},    // KP_Add
        {0xffad, 0x4a},    // KP_Subtract
        {0xffae, 0x53},    // KP_Decimal
        {0xffaf, 0xe035},  // KP_Divide
        {0xffe1, 0x2a},    // Shift_L
        {0xffe2, 0x36},    // Shift_R
        {0xffe3, 0x1d},    // Control_L
        {0xffe4, 0xe01d},  // Control_R
        {0xffe5, 0x3a},    // Caps_Lock
        {0xffe7, 0x38},    // Meta_L
        {0xffe9, 0x38},    // Alt_L
        {0xffea, 0xe038},  // Alt_R
        {0xfe03, 0xe038},  // ISO_Level3_Shift
        {0xffeb, 0xe05b},  // Super_L
        {0xffec, 0xe05c},  // Super_R
        {0xffff, 0xe053},  // Delete
    };
    for (std::uint32_t n = 0; n < 10; ++n) {
      all[0xffbe + n] = static_cast<std::uint16_t>(0x3b + n);  // F1 to F10
    }
    all[0xffc8] = 0x57;
    all[0xffc9] = 0x58;
    constexpr std::string_view kPad = "\x52\x4f\x50\x51\x4b\x4c\x4d\x47\x48\x49";
    for (std::uint32_t n = 0; n < 10; ++n) {
      all[0xffb0 + n] = static_cast<std::uint8_t>(kPad[n]);  // KP_0 to KP_9
    }
    return all;
  }();
  return keys;
}

}  // namespace

std::optional<std::uint16_t> scan_code_of_keysym(std::uint32_t keysym) {
  if (keysym >= 0x20 && keysym < 0x7f) return scan_code_of_character(static_cast<char>(keysym));
  const auto found = function_keys().find(keysym);
  if (found == function_keys().end()) return std::nullopt;
  return found->second;
}

}  // namespace chronovisor
