// Owns what a disk is laid over: the blocks of one medium, which never change. Knows
// no file. The machine's thread.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/devices/core/media.h"

namespace chronovisor {

class BlockSource {
 public:
  static constexpr std::uint32_t kBlockBytes = kMediumBlockBytes;

  virtual ~BlockSource() = default;
  /// Of the image. The last block may be cut; what is past the end reads as zeros.
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  /// Fills a block. A block that could not be read once is never to be had in this
  /// run, so that whether it can is a function of its number.
  /// @return false when it cannot be read
  [[nodiscard]] virtual bool read_block(std::uint64_t block,
                                        std::span<std::uint8_t, kBlockBytes> out) = 0;
};

/// A medium of the machine.
class MediumBlocks final : public BlockSource {
 public:
  /// The media must outlive this.
  MediumBlocks(MediaSource& media, std::uint32_t medium, std::uint64_t size_bytes)
      : media_(media), medium_(medium), size_bytes_(size_bytes) {}
  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] bool read_block(std::uint64_t block,
                                std::span<std::uint8_t, kBlockBytes> out) override {
    return media_.read_block(medium_, block, out);
  }

 private:
  MediaSource& media_;
  std::uint32_t medium_;
  std::uint64_t size_bytes_;
};

}  // namespace chronovisor
