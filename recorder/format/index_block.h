// Owns how blocks of the index on disk are found, checked and kept while they are of use:
// each is a chunk of its own, read when something in it is looked at, and what was read
// lately is kept within a bound. Knows no records. Any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"

namespace chronovisor {

/// Where an index block lies.
struct BlockRef {
  std::uint64_t sequence = 0;
  std::uint64_t offset = 0;
  std::uint32_t stored_length = 0;
  std::uint32_t raw_length = 0;
  bool operator==(const BlockRef&) const = default;
};

/// Which part of which table a block holds: `count` records from `first`, or, above level 0,
/// `count` references to blocks of the level below, from its block `first`.
struct BlockHead {
  std::uint8_t table = 0;
  std::uint8_t level = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool operator==(const BlockHead&) const = default;
};
/// index_block := u8 table, u8 level, varint first, varint count, records or references
void encode_block_head(const BlockHead& head, ByteWriter& out);
[[nodiscard]] BlockHead decode_block_head(ByteReader& in);
/// reference := varint sequence, varint offset, varint stored length, varint raw length
void encode_block_ref(const BlockRef& ref, ByteWriter& out);
/// Throws through `in` unless the block lies before chunk `sequence` at byte `offset`.
[[nodiscard]] BlockRef decode_block_ref(ByteReader& in, std::uint64_t sequence,
                                        std::uint64_t offset);

/// Blocks that were read, as what they decode to.
class IndexBlocks {
 public:
  static constexpr std::size_t kUsualBytes = std::size_t{8} << 20;

  IndexBlocks(std::shared_ptr<const InputFile> file, const FileId& id)
      : file_(std::move(file)), id_(id) {}

  /// What `decode` makes of what follows the head of block `ref`, which must be `head`, made
  /// now or before. It is a vector of `Value`; each table and level has one kind of them.
  /// Throws Error{bad_input}, naming the block, when it is damaged, or another part of the
  /// index.
  template <class Value, class Decode>
  std::shared_ptr<const std::vector<Value>> get(const BlockRef& ref, const BlockHead& head,
                                                const Decode& decode) {
    if (const auto known = find(ref, head)) {
      return std::static_pointer_cast<const std::vector<Value>>(known);
    }
    // Reading without the lock lets other threads read other blocks.
    const Bytes payload = read(ref);
    ByteReader in(payload, place_of(ref));
    if (decode_block_head(in) != head) in.fail("it is a block of another part of the index");
    auto value = std::make_shared<const std::vector<Value>>(decode(in));
    if (!in.at_end()) in.fail("bytes are left over");
    keep(ref, head, value, value->capacity() * sizeof(Value));
    return value;
  }

  /// The most that is kept; the block used last is kept whatever its size.
  void limit(std::size_t bytes);
  [[nodiscard]] std::size_t bytes() const;
  /// How many blocks were read from the file so far.
  [[nodiscard]] std::uint64_t reads() const;

 private:
  struct Kept {
    std::uint64_t offset = 0;
    BlockHead head;
    std::shared_ptr<const void> value;
    std::size_t bytes = 0;
  };
  [[nodiscard]] std::string place_of(const BlockRef& ref) const;
  [[nodiscard]] Bytes read(const BlockRef& ref) const;
  [[nodiscard]] std::shared_ptr<const void> find(const BlockRef& ref, const BlockHead& head);
  void keep(const BlockRef& ref, const BlockHead& head, std::shared_ptr<const void> value,
            std::size_t bytes);
  void drop_surplus();

  std::shared_ptr<const InputFile> file_;
  FileId id_;
  mutable std::mutex mutex_;
  std::list<Kept> recent_;  ///< the latest in front
  std::unordered_map<std::uint64_t, std::list<Kept>::iterator> by_offset_;
  std::size_t bytes_ = 0;
  std::size_t limit_ = kUsualBytes;
  std::uint64_t reads_ = 0;
};

}  // namespace chronovisor
