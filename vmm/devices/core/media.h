// Owns the one way by which the contents of disks and discs come into a machine:
// blocks of media that never change, read when a guest needs them. In a live run they
// come from images, in a replay from the recording; a device cannot tell. Knows no
// device and no file. The machine's thread, unless said otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"

namespace chronovisor {

inline constexpr std::uint32_t kMediumBlockBytes = 4096;

/// A medium is a disk or a disc. The first of drive n has number n; discs that are put
/// in later have numbers beyond those of the drives.
inline constexpr std::uint32_t kNoMedium = 0xffffffff;

/// What a machine has of a drive. It is part of the machine's shape.
struct DriveConfig {
  enum class Interface : std::uint8_t { ide, ahci, virtio, floppy };
  enum class Kind : std::uint8_t { disk, cdrom };
  Interface interface = Interface::ide;
  Kind kind = Kind::disk;
  bool read_only = false;
  /// Of the first medium; 0: a CD-ROM drive without a disc.
  std::uint64_t size_bytes = 0;
  bool operator==(const DriveConfig&) const = default;
};

class MediaSource {
 public:
  using Block = std::span<std::uint8_t, kMediumBlockBytes>;
  virtual ~MediaSource() = default;
  /// Fills a block; what is past a medium's end reads as zeros. A block that could not
  /// be read once is never to be had in a run, so that whether it can is a function of
  /// its number.
  /// @return false when it cannot be read: the guest's I/O error
  [[nodiscard]] virtual bool read_block(std::uint32_t medium, std::uint64_t block, Block out) = 0;
};

/// Told of every block that a machine got of its source.
class MediaObserver {
 public:
  virtual ~MediaObserver() = default;
  /// @param content nothing: it could not be read
  virtual void block_read(std::uint32_t medium, std::uint64_t block,
                          std::optional<ByteView> content) = 0;
};

/// What a machine's devices read from. Without a source nothing can be read.
class MediaPort final : public MediaSource {
 public:
  void set_source(std::shared_ptr<MediaSource> source) { source_ = std::move(source); }
  /// It must outlive this or be replaced; null: nobody.
  void set_observer(MediaObserver* observer) { observer_ = observer; }

  [[nodiscard]] bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override {
    const bool read = source_ != nullptr && source_->read_block(medium, block, out);
    if (observer_ != nullptr) {
      observer_->block_read(medium, block, read ? std::optional<ByteView>(out) : std::nullopt);
    }
    return read;
  }

 private:
  std::shared_ptr<MediaSource> source_;
  MediaObserver* observer_ = nullptr;
};

/// The payload of InputKind::cd_change, for the drive whose number is the input's device:
/// u32 medium, u64 size in bytes, u8 flags (bit 0: also when the guest has locked the
/// tray), and the image's name for people. Little-endian.
struct MediumChange {
  std::uint32_t medium = kNoMedium;  ///< or kNoMedium: the disc is taken out
  std::uint64_t size_bytes = 0;
  bool forced = false;
  std::string name{};
};
[[nodiscard]] Bytes encode_medium_change(const MediumChange& change);
/// Nothing when the bytes are no such payload.
[[nodiscard]] std::optional<MediumChange> decode_medium_change(ByteView payload);

}  // namespace chronovisor
