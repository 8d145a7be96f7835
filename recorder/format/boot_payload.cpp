#include "recorder/format/boot_payload.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

namespace chronovisor {
namespace {

// Offsets in a bzImage's header.
constexpr std::size_t kSetupSectors = 0x1f1;
constexpr std::size_t kHeaderMagic = 0x202;
constexpr std::size_t kVersion = 0x206;
constexpr std::size_t kPayloadOffset = 0x248;
constexpr std::size_t kPayloadLength = 0x24c;
constexpr std::uint16_t kVersionWithPayload = 0x208;

constexpr std::uint32_t kLz4Legacy = 0x184c2102;
constexpr std::uint32_t kZstd = 0xfd2fb528;
constexpr std::size_t kMostLz4Block = std::size_t{8} << 20;
constexpr std::size_t kMostRatio = 64;
/// The build appends the unpacked size to the packed kernel.
constexpr std::size_t kSizeField = 4;

std::uint32_t u32_at(ByteView bytes, std::size_t at) {
  return bytes[at] | std::uint32_t{bytes[at + 1]} << 8 | std::uint32_t{bytes[at + 2]} << 16 |
         std::uint32_t{bytes[at + 3]} << 24;
}

/// The packed kernel with the size behind it.
std::optional<ByteView> payload_of(ByteView image) {
  if (image.size() < kPayloadLength + 4) return std::nullopt;
  const auto version =
      static_cast<std::uint16_t>(image[kVersion] | std::uint16_t{image[kVersion + 1]} << 8);
  if (std::memcmp(image.data() + kHeaderMagic, "HdrS", 4) != 0 || version < kVersionWithPayload) {
    return std::nullopt;
  }
  const std::uint64_t sectors = image[kSetupSectors] == 0 ? 4 : image[kSetupSectors];
  const std::uint64_t at = (sectors + 1) * 512 + u32_at(image, kPayloadOffset);
  const std::uint64_t length = u32_at(image, kPayloadLength);
  if (at > image.size() || length > image.size() - at || length < 2 * kSizeField) {
    return std::nullopt;
  }
  return image.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length));
}

/// The legacy format's blocks, each behind its length; a match stays within its block.
std::optional<Bytes> unpack_lz4(ByteView packed, std::size_t size) {
  Bytes out(size);
  std::size_t done = 0;
  for (std::size_t at = 4; at < packed.size();) {
    if (packed.size() - at < 4) return std::nullopt;
    const std::uint32_t length = u32_at(packed, at);
    at += 4;
    if (length > packed.size() - at || done >= size) return std::nullopt;
    const std::size_t most = std::min(kMostLz4Block, size - done);
    const int unpacked = LZ4_decompress_safe(reinterpret_cast<const char*>(packed.data()) + at,
                                             reinterpret_cast<char*>(out.data()) + done,
                                             static_cast<int>(length), static_cast<int>(most));
    if (unpacked < 0) return std::nullopt;
    done += static_cast<std::size_t>(unpacked);
    at += length;
  }
  if (done != size) return std::nullopt;
  return out;
}

std::optional<Bytes> unpack_zstd(ByteView packed, std::size_t size) {
  Bytes out(size);
  if (ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size()) != size) {
    return std::nullopt;
  }
  return out;
}

}  // namespace

std::optional<Bytes> unpack_boot_payload(ByteView image) {
  const auto payload = payload_of(image);
  if (!payload) return std::nullopt;
  const ByteView packed = payload->first(payload->size() - kSizeField);
  const std::size_t size = u32_at(*payload, packed.size());
  if (size == 0 || size > kMostUnpackedBytes || size / kMostRatio > packed.size()) {
    return std::nullopt;
  }
  switch (u32_at(packed, 0)) {
    case kLz4Legacy:
      return unpack_lz4(packed, size);
    case kZstd:
      return unpack_zstd(packed, size);
    default:
      return std::nullopt;
  }
}

}  // namespace chronovisor
