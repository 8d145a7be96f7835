#include "vmm/devices/core/firmware_items.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kDirectoryKey = 0x19;
constexpr std::uint16_t kFirstFileKey = 0x20;
constexpr std::size_t kNameBytes = 56;
constexpr std::size_t kCountBytes = 4;
constexpr std::size_t kEntryBytes = 12;
constexpr std::uint32_t kMostItems = 256;

template <class T>
void big_endian(Bytes& out, T value) {
  for (unsigned i = sizeof(T); i-- > 0;) {
    out.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
}

std::uint32_t word(ByteView bytes, std::size_t at, unsigned width) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) value |= std::uint32_t{bytes[at + i]} << (8 * i);
  return value;
}

}  // namespace

Bytes pack_firmware_items(const std::vector<FirmwareItem>& items) {
  std::vector<std::pair<std::uint16_t, Bytes>> all;
  std::vector<const FirmwareItem*> files;
  for (const FirmwareItem& item : items) {
    if (item.name.empty()) {
      all.emplace_back(item.key, item.content);
    } else {
      files.push_back(&item);
    }
  }
  // Firmware is free to look for names by halves.
  std::sort(files.begin(), files.end(), [](auto* a, auto* b) { return a->name < b->name; });
  Bytes directory;
  big_endian(directory, static_cast<std::uint32_t>(files.size()));
  for (std::size_t n = 0; n < files.size(); ++n) {
    const FirmwareItem& file = *files[n];
    const auto key = static_cast<std::uint16_t>(kFirstFileKey + n);
    CHECK_THAT(file.name.size() < kNameBytes, file.name);
    big_endian(directory, static_cast<std::uint32_t>(file.content.size()));
    big_endian(directory, key);
    big_endian(directory, std::uint16_t{0});
    directory.insert(directory.end(), file.name.begin(), file.name.end());
    directory.resize(directory.size() + kNameBytes - file.name.size(), 0);
    all.emplace_back(key, file.content);
  }
  all.emplace_back(kDirectoryKey, directory);
  CHECK_THAT(all.size() <= kMostItems, "too many things that firmware is told");
  ByteWriter out;
  out.integer(static_cast<std::uint32_t>(all.size()));
  std::size_t at = kCountBytes + all.size() * kEntryBytes;
  for (const auto& [key, content] : all) {
    out.integer(key);
    out.integer(std::uint16_t{0});
    out.integer(static_cast<std::uint32_t>(at));
    out.integer(static_cast<std::uint32_t>(content.size()));
    at += content.size();
  }
  for (const auto& [key, content] : all) out.bytes(content);
  return out.take();
}

std::optional<FirmwareItemPlace> find_firmware_item(ByteView packed, std::uint16_t key) {
  if (packed.size() < kCountBytes) return std::nullopt;
  const std::uint32_t count = std::min(word(packed, 0, 4), kMostItems);
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::size_t at = kCountBytes + n * kEntryBytes;
    if (at + kEntryBytes > packed.size()) break;
    if (word(packed, at, 2) != key) continue;
    const FirmwareItemPlace place{word(packed, at + 4, 4), word(packed, at + 8, 4)};
    if (place.offset > packed.size() || place.size > packed.size() - place.offset) break;
    return place;
  }
  return std::nullopt;
}

}  // namespace chronovisor
