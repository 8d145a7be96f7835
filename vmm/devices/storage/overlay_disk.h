// Owns a disk whose image is never written: what the guest wrote lies in a region
// of the machine, in checkpoints like memory, and all else is read from the image.
// Knows no controller. One thread a machine.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "vmm/devices/storage/block_source.h"
#include "vmm/devices/storage/disk.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

class OverlayDisk final : public Disk {
 public:
  /// @param written the blocks that the guest wrote, as large as the image
  /// @param map which these are, a bit a block; see map_bytes()
  /// The regions must outlive this.
  OverlayDisk(std::unique_ptr<BlockSource> image, PagedRegion& written, PagedRegion& map);
  /// How large the map of an image's written blocks is.
  [[nodiscard]] static std::uint64_t map_bytes(std::uint64_t image_bytes);

  [[nodiscard]] std::uint64_t sectors() const override;
  [[nodiscard]] bool read_only() const override { return false; }
  DiskStatus read(std::uint64_t sector, std::span<std::uint8_t> out) override;
  DiskStatus write(std::uint64_t sector, ByteView data) override;

 private:
  [[nodiscard]] bool is_written(std::uint64_t block) const;
  void mark_written(std::uint64_t block);
  DiskStatus read_block(std::uint64_t block, std::span<std::uint8_t, BlockSource::kBlockBytes> out);

  std::unique_ptr<BlockSource> image_;
  PagedRegion& written_;
  PagedRegion& map_;
};

/// A disk that cannot be written.
class ReadOnlyDisk final : public Disk {
 public:
  explicit ReadOnlyDisk(std::unique_ptr<BlockSource> image) : image_(std::move(image)) {}
  [[nodiscard]] std::uint64_t sectors() const override;
  [[nodiscard]] bool read_only() const override { return true; }
  DiskStatus read(std::uint64_t sector, std::span<std::uint8_t> out) override;
  DiskStatus write(std::uint64_t sector, ByteView data) override;

 private:
  std::unique_ptr<BlockSource> image_;
};

}  // namespace chronovisor
