#include "vmm/devices/storage/ata_identity.h"

#include <algorithm>

namespace chronovisor {

void put_identity_text(IdentityWords& words, unsigned first, unsigned count,
                       std::string_view value) {
  const auto at = [&](unsigned i) {
    return static_cast<unsigned char>(i < value.size() ? value[i] : ' ');
  };
  for (unsigned n = 0; n < count; ++n) {
    words[first + n] = static_cast<std::uint16_t>(at(2 * n) << 8 | at(2 * n + 1));
  }
}

IdentityWords disk_identity(std::uint64_t sectors, std::string_view serial) {
  constexpr std::uint16_t kHeads = 16;
  constexpr std::uint16_t kTrackSectors = 63;
  constexpr std::uint64_t kMostCylinders = 16'383;
  const auto cylinders = static_cast<std::uint16_t>(
      std::clamp<std::uint64_t>(sectors / (kHeads * kTrackSectors), 1, kMostCylinders));
  const auto narrow = static_cast<std::uint32_t>(std::min(sectors, kMostSectors28));
  const std::uint32_t current = std::uint32_t{cylinders} * kHeads * kTrackSectors;
  IdentityWords words{};
  words[0] = 0x0040;
  words[1] = words[54] = cylinders;
  words[3] = words[55] = kHeads;
  words[6] = words[56] = kTrackSectors;
  put_identity_text(words, 10, 10, serial);
  put_identity_text(words, 23, 4, "1.0");
  put_identity_text(words, 27, 20, "CHRONOVISOR DISK");
  words[47] = 0x8000 | kMostMultiple;
  words[49] = 0x0f00;  // IORDY, LBA, DMA
  words[50] = 0x4000;
  words[53] = 7;
  words[57] = static_cast<std::uint16_t>(current);
  words[58] = static_cast<std::uint16_t>(current >> 16);
  words[60] = static_cast<std::uint16_t>(narrow);
  words[61] = static_cast<std::uint16_t>(narrow >> 16);
  words[63] = 0x0007;  // multiword DMA 0 to 2
  words[64] = 0x0003;  // PIO 3 and 4
  for (unsigned n = 65; n <= 68; ++n) words[n] = 120;
  words[82] = 0x4020;  // NOP, write cache
  words[83] = 0x7400;  // FLUSH, FLUSH EXT, 48 bits
  words[84] = 0x4000;
  words[85] = 0x4020;
  words[86] = 0x3400;
  words[87] = 0x4000;
  words[88] = 0x003f;  // Ultra DMA 0 to 5
  for (unsigned n = 0; n < 4; ++n) words[100 + n] = static_cast<std::uint16_t>(sectors >> (16 * n));
  return words;
}

std::vector<std::uint8_t> identity_bytes(const IdentityWords& words) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(2 * words.size());
  for (const std::uint16_t word : words) {
    bytes.push_back(static_cast<std::uint8_t>(word));
    bytes.push_back(static_cast<std::uint8_t>(word >> 8));
  }
  return bytes;
}

}  // namespace chronovisor
