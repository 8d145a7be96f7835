// Owns what the bits of an 8042's status, configuration byte and output port mean, for
// both controllers that this project has. Plain data.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
// Device Controller".
#pragma once

#include <cstdint>

namespace chronovisor::i8042_bits {

inline constexpr std::uint8_t kStatusOutputFull = 0x01;
inline constexpr std::uint8_t kStatusSystem = 0x04;
inline constexpr std::uint8_t kStatusCommand = 0x08;
inline constexpr std::uint8_t kStatusUnlocked = 0x10;
inline constexpr std::uint8_t kStatusMouse = 0x20;

inline constexpr std::uint8_t kConfigKeyboardInterrupt = 0x01;
inline constexpr std::uint8_t kConfigMouseInterrupt = 0x02;
inline constexpr std::uint8_t kConfigSystem = 0x04;
inline constexpr std::uint8_t kConfigKeyboardOff = 0x10;
inline constexpr std::uint8_t kConfigMouseOff = 0x20;
inline constexpr std::uint8_t kConfigTranslate = 0x40;

inline constexpr std::uint8_t kOutputNotReset = 0x01;
inline constexpr std::uint8_t kOutputA20 = 0x02;
inline constexpr std::uint8_t kOutputKeyboardFull = 0x10;
inline constexpr std::uint8_t kOutputMouseFull = 0x20;

}  // namespace chronovisor::i8042_bits
