#include "vmm/devices/storage/overlay_disk.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kBlock = BlockSource::kBlockBytes;
constexpr std::uint32_t kSectorsPerBlock = kBlock / kSectorBytes;

/// What is less than a sector at the end of an image reads as one filled up with zeros.
std::uint64_t sectors_of(const BlockSource& image) {
  return (image.size_bytes() + kSectorBytes - 1) / kSectorBytes;
}

/// Calls `piece(block, first byte in it, place in the request, bytes)` for each block.
template <class Piece>
DiskStatus for_each_block(std::uint64_t sector, std::size_t bytes, Piece&& piece) {
  for (std::size_t done = 0; done < bytes;) {
    const std::uint64_t at = sector + done / kSectorBytes;
    const auto within = static_cast<std::uint32_t>(at % kSectorsPerBlock * kSectorBytes);
    const std::size_t count = std::min<std::size_t>(bytes - done, kBlock - within);
    if (piece(at / kSectorsPerBlock, within, done, count) != DiskStatus::done) {
      return DiskStatus::error;
    }
    done += count;
  }
  return DiskStatus::done;
}

}  // namespace

OverlayDisk::OverlayDisk(std::unique_ptr<BlockSource> image, PagedRegion& written, PagedRegion& map)
    : image_(std::move(image)), written_(written), map_(map) {
  CHECK_THAT(
      written.size() >= image_->size_bytes() && map.size() >= map_bytes(image_->size_bytes()),
      "an overlay is as large as its image");
}

std::uint64_t OverlayDisk::map_bytes(std::uint64_t image_bytes) {
  const std::uint64_t blocks = (image_bytes + kBlock - 1) / kBlock;
  return std::max<std::uint64_t>((blocks + 7) / 8, 1);
}

std::uint64_t OverlayDisk::sectors() const { return sectors_of(*image_); }

bool OverlayDisk::is_written(std::uint64_t block) const {
  return (*map_.host(block / 8) >> (block % 8) & 1) != 0;
}

void OverlayDisk::mark_written(std::uint64_t block) {
  const auto bits = static_cast<std::uint8_t>(*map_.host(block / 8) | 1U << (block % 8));
  map_.write(block / 8, ByteView(&bits, 1));
}

DiskStatus OverlayDisk::read_block(std::uint64_t block, std::span<std::uint8_t, kBlock> out) {
  if (is_written(block)) {
    written_.read(block * kBlock, out);
    return DiskStatus::done;
  }
  return image_->read_block(block, out) ? DiskStatus::done : DiskStatus::error;
}

DiskStatus OverlayDisk::read(std::uint64_t sector, std::span<std::uint8_t> out) {
  std::array<std::uint8_t, kBlock> bytes{};
  return for_each_block(
      sector, out.size(),
      [&](std::uint64_t block, std::uint32_t within, std::size_t at, std::size_t count) {
        if (read_block(block, bytes) != DiskStatus::done) return DiskStatus::error;
        std::copy_n(bytes.begin() + within, count, out.begin() + static_cast<std::ptrdiff_t>(at));
        return DiskStatus::done;
      });
}

DiskStatus OverlayDisk::write(std::uint64_t sector, ByteView data) {
  std::array<std::uint8_t, kBlock> bytes{};
  return for_each_block(
      sector, data.size(),
      [&](std::uint64_t block, std::uint32_t within, std::size_t at, std::size_t count) {
        if (count == kBlock || is_written(block)) {
          written_.write(block * kBlock + within, data.subspan(at, count));
        } else {
          // The rest of the block comes from the image.
          if (read_block(block, bytes) != DiskStatus::done) return DiskStatus::error;
          std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), count,
                      bytes.begin() + within);
          written_.write(block * kBlock, bytes);
        }
        mark_written(block);
        return DiskStatus::done;
      });
}

std::uint64_t ReadOnlyDisk::sectors() const { return sectors_of(*image_); }

DiskStatus ReadOnlyDisk::read(std::uint64_t sector, std::span<std::uint8_t> out) {
  std::array<std::uint8_t, kBlock> bytes{};
  return for_each_block(
      sector, out.size(),
      [&](std::uint64_t block, std::uint32_t within, std::size_t at, std::size_t count) {
        if (!image_->read_block(block, bytes)) return DiskStatus::error;
        std::copy_n(bytes.begin() + within, count, out.begin() + static_cast<std::ptrdiff_t>(at));
        return DiskStatus::done;
      });
}

DiskStatus ReadOnlyDisk::write(std::uint64_t /*sector*/, ByteView /*data*/) {
  return DiskStatus::error;
}

}  // namespace chronovisor
