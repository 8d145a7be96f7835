#include "vmm/devices/input/scan_codes.h"

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

}  // namespace

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
