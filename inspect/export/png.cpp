#include "inspect/export/png.h"

#include <zlib.h>
#include <array>

#include <string_view>

#include "base/error.h"

namespace chronovisor {
namespace {

void big_endian(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

/// Length, type, content, and a checksum of the latter two.
void chunk(Bytes& out, std::string_view type, ByteView content) {
  big_endian(out, static_cast<std::uint32_t>(content.size()));
  const std::size_t from = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), content.begin(), content.end());
  big_endian(out, static_cast<std::uint32_t>(
                      crc32(0, out.data() + from, static_cast<uInt>(out.size() - from))));
}

}  // namespace

Bytes png_of(std::uint32_t width, std::uint32_t height, ByteView rgb) {
  const std::size_t row_bytes = std::size_t{width} * 3;
  CHECK_THAT(width != 0 && height != 0 && rgb.size() == row_bytes * height, "a picture's size");
  constexpr std::uint8_t kNoFilter = 0;
  Bytes rows;
  rows.reserve((row_bytes + 1) * height);
  for (std::uint32_t row = 0; row < height; ++row) {
    const ByteView line = rgb.subspan(row * row_bytes, row_bytes);
    rows.push_back(kNoFilter);
    rows.insert(rows.end(), line.begin(), line.end());
  }
  uLongf size = compressBound(static_cast<uLong>(rows.size()));
  Bytes packed(size);
  if (compress2(packed.data(), &size, rows.data(), static_cast<uLong>(rows.size()),
                Z_DEFAULT_COMPRESSION) != Z_OK) {
    throw Error(ErrorCode::host, "no memory to pack a picture in");
  }
  packed.resize(size);

  Bytes out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Bytes header;
  big_endian(header, width);
  big_endian(header, height);
  for (const std::uint8_t byte : std::array<std::uint8_t, 5>{8, 2, 0, 0, 0})
    header.push_back(byte);  // 8 bits, RGB
  chunk(out, "IHDR", header);
  chunk(out, "IDAT", packed);
  chunk(out, "IEND", {});
  return out;
}

}  // namespace chronovisor
