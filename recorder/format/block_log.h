// Owns how the blocks of disks that a guest read are kept in a recording: their
// contents in chunks of data, and a directory that says which block of which medium has
// which. A content is kept once while it is remembered; of blocks that were read 8 bytes
// each are, in runs of 32. Knows no file and no machine. Values; any thread. A BlockLog belongs to
// one thread.
//
// The payload of a block data chunk: contents of 4096 bytes, end to end.
// The payload of a block directory chunk (varint is LEB128, at most ten bytes):
//
//   varint count
//   count times:
//     varint medium
//     varint block           in units of 4096 bytes
//     u8     kind            0 could not be read; 1 zeros; 2 its content is kept
//     with kind 2:
//       u128   hash of the content
//       varint sequence      of the block data chunk ...
//       varint index         ... and which of its contents
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace chronovisor {

inline constexpr std::uint32_t kBlockBytes = 4096;
/// Contents in one block data chunk as written today.
inline constexpr std::uint32_t kBlocksPerChunk = 256;
/// Media and blocks of one are fewer than this.
inline constexpr std::uint64_t kMostMedia = 1ULL << 16;
inline constexpr std::uint64_t kMostBlocks = 1ULL << 32;

enum class BlockKind : std::uint8_t { unreadable = 0, zeros = 1, kept = 2 };

struct BlockEntry {
  std::uint32_t medium = 0;
  std::uint64_t block = 0;
  BlockKind kind = BlockKind::unreadable;
  Hash128 hash{};
  std::uint64_t sequence = 0;  ///< of the chunk with the content
  std::uint32_t index = 0;     ///< in it
  bool operator==(const BlockEntry&) const = default;
};

[[nodiscard]] Bytes encode_block_directory(const std::vector<BlockEntry>& entries);
/// Throws Error{bad_input}, beginning with `what`.
[[nodiscard]] std::vector<BlockEntry> decode_block_directory(ByteView data, std::string_view what);

/// Of the medium and block of an entry, one number.
[[nodiscard]] constexpr std::uint64_t block_key(std::uint32_t medium, std::uint64_t block) {
  return std::uint64_t{medium} << 32 | block;
}

/// What was read since the recording began, and what of it is not in the file yet.
class BlockLog {
 public:
  /// So many contents used lately are remembered, and at most twice as many. What is
  /// forgotten is kept again when another block has it.
  static constexpr std::size_t kRemembered = std::size_t{1} << 18;
  explicit BlockLog(std::size_t remembered = kRemembered) : remembered_(remembered) {}

  enum class Added : std::uint8_t { fresh, known, contradicts };
  /// A block was read. @param content nothing: it could not be
  /// @return whether it has to be written, is known as it is, or was another one before
  Added add(std::uint32_t medium, std::uint64_t block, std::optional<ByteView> content);
  /// Bytes of contents that wait, and entries.
  [[nodiscard]] std::size_t held_bytes() const {
    return data_.size() + entries_.size() * sizeof(BlockEntry);
  }
  [[nodiscard]] bool is_full() const { return data_.size() >= kBlocksPerChunk * kBlockBytes; }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] const Bytes& data() const { return data_; }
  /// The data are in chunk `sequence` (or there are none): the directory of what waited,
  /// of which nothing waits any more.
  [[nodiscard]] Bytes take_directory(std::uint64_t sequence);
  /// Where a content is in the file; nothing if it is not there yet.
  struct Place {
    std::uint64_t sequence;
    std::uint32_t index;
  };
  [[nodiscard]] std::optional<Place> place_of(const Hash128& content) const;
  [[nodiscard]] std::size_t remembered_contents() const { return recent_.size() + older_.size(); }

 private:
  struct HashOfContent {
    std::size_t operator()(const Hash128& hash) const { return hash.low; }
  };
  using Places = std::unordered_map<Hash128, Place, HashOfContent>;
  static constexpr std::uint64_t kWaits = ~std::uint64_t{0};  ///< a sequence not known yet
  /// Blocks that follow one another are known together.
  static constexpr std::uint64_t kRun = 32;
  using Marks = std::array<std::uint64_t, kRun>;

  [[nodiscard]] static std::uint64_t mark_of(const BlockEntry& entry);
  [[nodiscard]] Places::iterator remembered(const Hash128& content);

  /// What each block was, by its key divided by kRun; 0: it was not read.
  std::unordered_map<std::uint64_t, std::unique_ptr<Marks>> known_;
  std::size_t remembered_;
  Places recent_;                 ///< of contents: used lately ...
  Places older_;                  ///< ... and before
  std::vector<Hash128> waiting_;  ///< contents in data_, in order
  Bytes data_;
  std::vector<BlockEntry> entries_;
};

}  // namespace chronovisor
