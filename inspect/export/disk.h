// Owns writing a machine's disk as it is at a moment: raw, or as a qcow2 image. What the
// guest wrote is in the machine; the rest is read from its media. Knows no command line.
// One thread.
#pragma once

#include <cstdint>
#include <functional>

#include "recorder/format/file.h"
#include "vmm/devices/core/media.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// A disk's blocks at a moment.
class DiskView {
 public:
  /// @param media where blocks come from that the guest did not write
  /// Throws Error{usage} when the machine has no such drive, or none with a medium.
  DiskView(Machine& machine, std::uint32_t drive, MediaSource& media);
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] std::uint64_t blocks() const {
    return (size_bytes_ + kMediumBlockBytes - 1) / kMediumBlockBytes;
  }
  /// Throws Error{bad_input} when the block cannot be read.
  void read(std::uint64_t block, MediaSource::Block out) const;
  /// How many blocks the guest wrote.
  [[nodiscard]] std::uint64_t written_blocks() const;

 private:
  [[nodiscard]] bool is_written(std::uint64_t block) const;

  std::uint32_t drive_;
  MediaSource& media_;
  std::uint64_t size_bytes_;
  const PagedRegion* written_;
  const PagedRegion* map_;
};

/// Told of the blocks that are not zeros, in order.
using BlockSink = std::function<void(std::uint64_t block, ByteView content)>;
void for_each_block(const DiskView& disk, const BlockSink& sink);
/// Writes a qcow2 image (version 2, 64 KiB clusters) without a backing file.
/// Source: QEMU, docs/interop/qcow2.txt.
void export_qcow2(const DiskView& disk, OutputFile& file);

}  // namespace chronovisor
