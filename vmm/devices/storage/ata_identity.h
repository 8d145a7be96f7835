// Owns the form of what ATA and ATAPI devices say of themselves: 256 words, and those
// that two kinds of disk fill alike. Knows no drive and no controller. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace chronovisor {

/// The most sectors that commands of 28 bits reach.
inline constexpr std::uint64_t kMostSectors28 = (1ULL << 28) - 1;

/// The most sectors that READ and WRITE MULTIPLE move with one interrupt.
inline constexpr std::uint32_t kMostMultiple = 16;

using IdentityWords = std::array<std::uint16_t, 256>;

/// Puts `value` into `count` words from `first` on, two characters a word, the first of
/// them in the upper byte, spaces behind.
void put_identity_text(IdentityWords& words, unsigned first, unsigned count,
                       std::string_view value);

/// What a disk of this project says, whatever it is connected to: capacity, geometry,
/// name, and the commands and modes that all have.
/// Source: ATA8-ACS, 7.16 "IDENTIFY DEVICE".
[[nodiscard]] IdentityWords disk_identity(std::uint64_t sectors, std::string_view serial);

/// 512 bytes, each word's lower byte first.
[[nodiscard]] std::vector<std::uint8_t> identity_bytes(const IdentityWords& words);

}  // namespace chronovisor
