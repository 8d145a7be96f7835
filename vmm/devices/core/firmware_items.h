// Owns how what firmware is told of a machine lies in a region of it: items with a
// number, as QEMU's firmware configuration device has them, so that they are memory of
// the machine like all else. Knows no item. Plain functions; any thread.
//
// Layout, little-endian: the count (4 bytes); for each item its key (2), zeros (2),
// where its bytes begin (4), and how many there are (4); the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

/// Where firmware puts a PIIX4's power management: SeaBIOS and others, and OVMF.
inline constexpr std::uint16_t kBiosPowerBase = 0x600;
inline constexpr std::uint16_t kUefiPowerBase = 0xb000;

/// The regions that hold the ROM up to 4 GiB, the items, and the screen's option ROM.
inline constexpr const char* kFirmwareRomRegion = "firmware.rom";
inline constexpr std::uint64_t kFirmwareRomBytes = 16ULL << 20;

/// A part of that region which firmware may write.
struct FlashConfig {
  std::uint64_t size_bytes = 0;      ///< 0: there is none
  std::uint64_t below_4g_bytes = 0;  ///< so much ROM lies behind it
  bool operator==(const FlashConfig&) const = default;
};
inline constexpr const char* kFirmwareItemsRegion = "fw_cfg.items";
inline constexpr const char* kVideoBiosRegion = "vga.rom";

struct FirmwareItem {
  std::uint16_t key = 0;  ///< of an item without a name
  std::string name;       ///< of a file, which gets the next key from 20H on
  Bytes content;
};

/// Gives files their keys, and adds the directory of files (key 19H).
/// Source: QEMU, docs/specs/fw_cfg.rst.
[[nodiscard]] Bytes pack_firmware_items(const std::vector<FirmwareItem>& items);

struct FirmwareItemPlace {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
};
/// Where the item lies in what pack_firmware_items() made; whatever is there instead, the
/// answer lies within `packed`.
[[nodiscard]] std::optional<FirmwareItemPlace> find_firmware_item(ByteView packed,
                                                                  std::uint16_t key);

}  // namespace chronovisor
