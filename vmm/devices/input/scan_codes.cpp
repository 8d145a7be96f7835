#include "vmm/devices/input/scan_codes.h"

#include <algorithm>
#include <array>

namespace chronovisor {
namespace {

constexpr unsigned kCodes = 128;

/// By the code of set 1. Each code of set 2 is there once, so that the controller's table
/// is this one the other way round.
constexpr std::array<std::uint8_t, kCodes> kSet2 = {
    0,   118, 22,  30,  38,  37,  46,  54,  61,  62,  70,  69,  78,  85,  102, 13,   //
    21,  29,  36,  45,  44,  53,  60,  67,  68,  77,  84,  91,  90,  20,  28,  27,   //
    35,  43,  52,  51,  59,  66,  75,  76,  82,  14,  18,  93,  26,  34,  33,  42,   //
    50,  49,  58,  65,  73,  74,  89,  124, 17,  41,  88,  5,   6,   4,   12,  3,    //
    11,  2,   10,  1,   9,   119, 126, 108, 117, 125, 123, 107, 115, 116, 121, 105,  //
    114, 122, 112, 113, 127, 96,  97,  120, 7,   15,  23,  31,  39,  47,  55,  63,   //
    71,  79,  86,  94,  8,   16,  24,  32,  40,  48,  56,  64,  72,  80,  87,  111,  //
    19,  25,  57,  81,  83,  92,  95,  98,  99,  100, 101, 103, 104, 106, 109, 110};

// Two keys whose codes of set 2 are beyond the table.
constexpr std::uint8_t kF7 = 0x41;
constexpr std::uint8_t kF7Set2 = 0x83;
constexpr std::uint8_t kSystemRequest = 0x54;
constexpr std::uint8_t kSystemRequestSet2 = 0x84;

constexpr std::array<std::uint8_t, kCodes> kSet1 = [] {
  std::array<std::uint8_t, kCodes> table{};
  for (unsigned code = 0; code < kCodes; ++code) {
    table[kSet2[code]] = static_cast<std::uint8_t>(code);
  }
  table[0] = 0xff;  // an overrun is said otherwise in set 1
  return table;
}();

/// By the code of set 1 without a prefix: those of the old keyboard of 83 keys, and the
/// key beside the left Shift, F11 and F12.
constexpr std::array<std::uint8_t, 0x59> kSet3 = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66,
    0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11,
    0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a,
    0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07,
    0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84,
    0x6b, 0x73, 0x74, 0x7c, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e};

/// Those behind E0H.
struct Extended {
  std::uint8_t set1;
  std::uint8_t set3;
};
constexpr std::array kExtendedKeys = {
    Extended{0x1c, 0x79}, Extended{0x1d, 0x58}, Extended{0x35, 0x77}, Extended{0x37, 0x57},
    Extended{0x38, 0x39}, Extended{0x47, 0x6e}, Extended{0x48, 0x63}, Extended{0x49, 0x6f},
    Extended{0x4b, 0x61}, Extended{0x4d, 0x6a}, Extended{0x4f, 0x65}, Extended{0x50, 0x60},
    Extended{0x51, 0x6d}, Extended{0x52, 0x67}, Extended{0x53, 0x64}, Extended{0x5b, 0x8b},
    Extended{0x5c, 0x8c}, Extended{0x5d, 0x8d}};

constexpr std::uint8_t kExtendedPrefix = 0xe0;
constexpr std::uint8_t kPausePrefix = 0xe1;
constexpr std::uint8_t kPauseSet3 = 0x62;

/// Those that tell no release and do not repeat: Escape, functions, the keypad but for its
/// plus, and what stands above the arrows but for Delete.
constexpr std::array<std::uint8_t, 39> kOnlyPressed = {
    0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x39, 0x3f, 0x47, 0x4f, 0x56,
    0x57, 0x58, 0x5e, 0x5f, 0x62, 0x65, 0x67, 0x69, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x79, 0x7a, 0x7d, 0x7e, 0x84};
/// Those that tell both and do not repeat: Shift, Control, Alt, Caps Lock.
constexpr std::array<std::uint8_t, 8> kPressedAndReleased = {0x11, 0x12, 0x14, 0x19,
                                                             0x59, 0x8b, 0x8c, 0x8d};

}  // namespace

std::uint8_t set3_of_set1(std::uint8_t prefix, std::uint8_t code) {
  if (prefix == 0) return code < kSet3.size() ? kSet3[code] : std::uint8_t{0};
  if (prefix == kPausePrefix) return kPauseSet3;
  if (prefix != kExtendedPrefix) return 0;
  const auto* const found = std::ranges::find(kExtendedKeys, code, &Extended::set1);
  return found == kExtendedKeys.end() ? std::uint8_t{0} : found->set3;
}

KeyKind usual_kind(std::uint8_t set3_code) {
  if (std::ranges::find(kOnlyPressed, set3_code) != kOnlyPressed.end()) return {};
  if (std::ranges::find(kPressedAndReleased, set3_code) != kPressedAndReleased.end()) {
    return {.repeats = false, .tells_release = true};
  }
  return {.repeats = true, .tells_release = false};
}

std::uint8_t set2_of_set1(std::uint8_t code) {
  if (code == kF7) return kF7Set2;
  if (code == kSystemRequest) return kSystemRequestSet2;
  return kSet2[code % kCodes];
}

std::uint8_t translated(std::uint8_t byte) {
  if (byte == kF7Set2) return kF7;
  if (byte == kSystemRequestSet2) return kSystemRequest;
  return byte < kCodes ? kSet1[byte] : byte;
}

}  // namespace chronovisor
