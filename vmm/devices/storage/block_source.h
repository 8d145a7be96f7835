// Owns the one way by which the contents of an image come into a machine: blocks
// that never change, read when a guest first needs them. In a live run they come
// from the image, in a replay from the recording; a device cannot tell. Knows no
// file. The machine's thread.
#pragma once

#include <cstdint>
#include <span>

namespace chronovisor {

class BlockSource {
 public:
  static constexpr std::uint32_t kBlockBytes = 4096;

  virtual ~BlockSource() = default;
  /// Of the image. The last block may be cut; what is past the end reads as zeros.
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  /// Fills a block. A block that could not be read once is never to be had in this
  /// run, so that whether it can is a function of its number.
  /// @return false when it cannot be read
  [[nodiscard]] virtual bool read_block(std::uint64_t block,
                                        std::span<std::uint8_t, kBlockBytes> out) = 0;
};

}  // namespace chronovisor
