// Owns one table of a recording's index: records in an order, the latest in memory, those
// before them in blocks in the file, and blocks of references that lead to these. A table
// that was read from the footer of an earlier release, or by a scan, is in memory as a
// whole. Knows no file: what is looked at is read through IndexBlocks. A table grows by one
// thread; const members are safe from any.
//
//   records    0 .......... in_blocks | in_blocks .... size
//   level 0    [leaf][leaf][leaf][leaf]  open (in memory)
//   level 1    [ references of fan_out leaves ] ...
//   in memory  of each level those references that no block of the next level has
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "recorder/format/index_block.h"

namespace chronovisor {

/// How large blocks are.
struct BlockShape {
  /// Blocks are chunks, of which there is a table as well: it must fill fewer than it lists.
  static constexpr std::uint64_t kLeastRecords = 4;
  static constexpr std::uint64_t kMost = 1u << 16;
  std::uint64_t records = 1024;  ///< in a leaf
  std::uint64_t fan_out = 256;   ///< references in a block of a higher level
  bool operator==(const BlockShape&) const = default;
};

/// Of a record: `kTable`, its table's number in the file; `kUsualRecords`, in a leaf;
/// `encode(records, first, writer)`; and `decode(reader, first, count, limit)`, which
/// refuses what does not lie before chunk `limit.sequence` at byte `limit.offset`.
template <class Record>
struct IndexTraits;

template <class Record>
class IndexTable {
 public:
  using Traits = IndexTraits<Record>;
  using Records = std::vector<Record>;
  using References = std::vector<BlockRef>;
  static constexpr std::size_t kMostLevels = 8;

  [[nodiscard]] std::size_t size() const {
    return static_cast<std::size_t>(in_blocks_) + open_.size();
  }
  [[nodiscard]] bool empty() const { return size() == 0; }
  /// Throws Error{bad_input} when the record's block is damaged.
  [[nodiscard]] Record operator[](std::size_t n) const {
    if (n >= in_blocks_) return open_[n - static_cast<std::size_t>(in_blocks_)];
    if (!pieces_.empty()) return in_pieces(n);
    return (*leaf(n / shape_.records))[n % shape_.records];
  }
  [[nodiscard]] Record front() const { return (*this)[0]; }
  /// The last record is always in memory.
  [[nodiscard]] const Record& back() const { return open_.back(); }

  class Iterator {
   public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = Record;
    using difference_type = std::ptrdiff_t;
    using reference = Record;
    struct pointer {
      Record record;
      const Record* operator->() const { return &record; }
    };

    Iterator() = default;
    Iterator(const IndexTable* table, std::size_t n) : table_(table), n_(n) {}
    Record operator*() const {
      if (n_ >= table_->in_blocks_ || !table_->pieces_.empty()) return (*table_)[n_];
      const std::uint64_t number = n_ / table_->shape_.records;
      if (leaf_ == nullptr || number != leaf_number_) {
        leaf_ = table_->leaf(number);
        leaf_number_ = number;
      }
      return (*leaf_)[n_ % table_->shape_.records];
    }
    pointer operator->() const { return {**this}; }
    Record operator[](difference_type n) const { return *(*this + n); }
    Iterator& operator+=(difference_type n) {
      n_ += static_cast<std::size_t>(n);
      return *this;
    }
    Iterator& operator-=(difference_type n) { return *this += -n; }
    Iterator& operator++() { return *this += 1; }
    Iterator& operator--() { return *this -= 1; }
    Iterator operator++(int) { return std::exchange(*this, *this + 1); }
    Iterator operator--(int) { return std::exchange(*this, *this - 1); }
    friend Iterator operator+(Iterator at, difference_type n) { return at += n; }
    friend Iterator operator+(difference_type n, Iterator at) { return at += n; }
    friend Iterator operator-(Iterator at, difference_type n) { return at -= n; }
    friend difference_type operator-(const Iterator& a, const Iterator& b) {
      return static_cast<difference_type>(a.n_) - static_cast<difference_type>(b.n_);
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.n_ == b.n_; }
    friend auto operator<=>(const Iterator& a, const Iterator& b) { return a.n_ <=> b.n_; }

   private:
    const IndexTable* table_ = nullptr;
    std::size_t n_ = 0;
    mutable std::shared_ptr<const Records> leaf_;  ///< the one used last
    mutable std::uint64_t leaf_number_ = 0;
  };
  using value_type = Record;
  using const_iterator = Iterator;
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, size()}; }

  /// Whether both have the same records, wherever they are.
  friend bool operator==(const IndexTable& a, const IndexTable& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }

  /// A table, and what its records are in a table that it is a piece of.
  struct Piece {
    const IndexTable* table;
    std::function<Record(Record)> as_of_whole;
  };
  /// The tables of `pieces` one after the other, read as one; they outlive it.
  [[nodiscard]] static IndexTable joined(std::vector<Piece> pieces) {
    IndexTable whole;
    std::size_t size = 0;
    for (Piece& piece : pieces) {
      if (piece.table->empty()) continue;
      whole.starts_.push_back(size);
      size += piece.table->size();
      whole.pieces_.push_back(std::move(piece));
    }
    if (size == 0) return whole;
    whole.in_blocks_ = size - 1;
    whole.open_.push_back(whole.in_pieces(size - 1));
    return whole;
  }

  // ---- growing ----

  void push_back(Record record) { open_.push_back(std::move(record)); }
  [[nodiscard]] bool is_in_memory(std::size_t n) const { return n >= in_blocks_; }
  /// A record that is in memory, to be changed; all are while nothing was put into blocks.
  [[nodiscard]] Record& in_memory(std::size_t n) {
    CHECK_THAT(n >= in_blocks_, "a record that is in memory");
    return open_[n - static_cast<std::size_t>(in_blocks_)];
  }
  /// Takes the last record away.
  void pop_back() { open_.pop_back(); }

  /// Before anything was put into blocks.
  void shape(const BlockShape& shape) {
    CHECK_THAT(shape.records >= BlockShape::kLeastRecords && shape.fan_out >= 2, "a block's size");
    shape_ = shape;
  }
  [[nodiscard]] bool has_blocks() const { return in_blocks_ != 0; }
  [[nodiscard]] bool has_full_block() const { return open_.size() > shape_.records; }
  /// Puts full blocks into the file by `write(payload)`, which says where it was put. At
  /// least one record stays in memory.
  void write_full_blocks(const std::function<BlockRef(ByteView)>& write) {
    while (has_full_block()) {
      ByteWriter out;
      encode_block_head({Traits::kTable, 0, in_blocks_, shape_.records}, out);
      Traits::encode(std::span<const Record>(open_).first(shape_.records), in_blocks_, out);
      open_.erase(open_.begin(), open_.begin() + static_cast<std::ptrdiff_t>(shape_.records));
      in_blocks_ += shape_.records;
      // Writing may add records, of the block's chunk.
      add_reference(0, write(out.data()), write);
    }
  }

  // ---- in a recording's index ----

  /// table := u8 number, varint records a leaf, varint fan-out, varint records in blocks,
  ///          varint levels, levels * { varint count, references }, varint open, records
  void encode(ByteWriter& out) const {
    out.integer(Traits::kTable);
    out.varint(shape_.records);
    out.varint(shape_.fan_out);
    out.varint(in_blocks_);
    out.varint(references_.size());
    for (const References& level : references_) {
      out.varint(level.size());
      for (const BlockRef& ref : level) encode_block_ref(ref, out);
    }
    out.varint(open_.size());
    Traits::encode(open_, in_blocks_, out);
  }

  /// @param limit the chunk that `in` is of: all lies before it
  /// @param blocks for what is not in memory; outlives the table
  [[nodiscard]] static IndexTable decode(ByteReader& in, const BlockRef& limit,
                                         std::shared_ptr<IndexBlocks> blocks) {
    IndexTable table;
    if (in.integer<std::uint8_t>() != Traits::kTable) in.fail("another table is in its place");
    table.shape_.records = in.varint();
    table.shape_.fan_out = in.varint();
    if (table.shape_.records < BlockShape::kLeastRecords ||
        table.shape_.records > BlockShape::kMost || table.shape_.fan_out < 2 ||
        table.shape_.fan_out > BlockShape::kMost) {
      in.fail("a table's blocks are of a size out of range");
    }
    table.in_blocks_ = in.varint();
    // Every chunk has records of this table once at most, and chunks are counted.
    if (table.in_blocks_ % table.shape_.records != 0 || table.in_blocks_ > limit.sequence) {
      in.fail("a table's count of records in blocks is out of range");
    }
    const std::uint64_t levels = in.varint();
    if (levels > kMostLevels) in.fail("a table has too many levels");
    std::uint64_t there = table.in_blocks_ / table.shape_.records;
    for (std::uint64_t n = 0; n < levels; ++n) {
      const std::uint64_t count = in.varint();
      if (count > there || (there - count) % table.shape_.fan_out != 0 ||
          count > in.remaining() / 4) {
        in.fail("a table's references do not add up");
      }
      References& level = table.references_.emplace_back();
      for (std::uint64_t k = 0; k < count; ++k) {
        level.push_back(decode_block_ref(in, limit.sequence, limit.offset));
      }
      there = (there - count) / table.shape_.fan_out;
    }
    if (there != 0) in.fail("a table's references do not add up");
    const std::uint64_t open = in.varint();
    if (open > in.remaining() || open > limit.sequence - table.in_blocks_ ||
        (open == 0 && table.in_blocks_ != 0)) {
      in.fail("a table's count of records is out of range");
    }
    table.open_ = Traits::decode(in, table.in_blocks_, open, limit);
    table.blocks_ = std::move(blocks);
    return table;
  }

 private:
  void add_reference(std::size_t level, const BlockRef& ref,
                     const std::function<BlockRef(ByteView)>& write) {
    if (references_.size() <= level) references_.emplace_back();
    references_[level].push_back(ref);
    if (references_[level].size() <= shape_.fan_out) return;
    // One stays, as with records.
    ByteWriter out;
    const std::uint64_t first = count_of(level) - references_[level].size();
    encode_block_head({Traits::kTable, static_cast<std::uint8_t>(level + 1), first, shape_.fan_out},
                      out);
    for (std::uint64_t n = 0; n < shape_.fan_out; ++n) {
      encode_block_ref(references_[level][static_cast<std::size_t>(n)], out);
    }
    references_[level].erase(
        references_[level].begin(),
        references_[level].begin() + static_cast<std::ptrdiff_t>(shape_.fan_out));
    add_reference(level + 1, write(out.data()), write);
  }

  /// How many blocks of a level there are.
  [[nodiscard]] std::uint64_t count_of(std::size_t level) const {
    std::uint64_t count = in_blocks_ / shape_.records;
    for (std::size_t n = 0; n < level; ++n) {
      count = (count - references_[n].size()) / shape_.fan_out;
    }
    return count;
  }

  [[nodiscard]] BlockRef reference(std::size_t level, std::uint64_t number) const {
    CHECK_THAT(level < references_.size(), "a level of this table");
    const References& held = references_[level];
    const std::uint64_t elsewhere = count_of(level) - held.size();
    if (number >= elsewhere) return held[static_cast<std::size_t>(number - elsewhere)];
    const BlockRef above = reference(level + 1, number / shape_.fan_out);
    const BlockHead head{Traits::kTable, static_cast<std::uint8_t>(level + 1),
                         number / shape_.fan_out * shape_.fan_out, shape_.fan_out};
    const auto block = blocks_->template get<BlockRef>(above, head, [&](ByteReader& in) {
      References refs;
      for (std::uint64_t n = 0; n < head.count; ++n) {
        refs.push_back(decode_block_ref(in, above.sequence, above.offset));
      }
      return refs;
    });
    return (*block)[static_cast<std::size_t>(number % shape_.fan_out)];
  }

  [[nodiscard]] std::shared_ptr<const Records> leaf(std::uint64_t number) const {
    const BlockRef ref = reference(0, number);
    const BlockHead head{Traits::kTable, 0, number * shape_.records, shape_.records};
    return blocks_->template get<Record>(
        ref, head, [&](ByteReader& in) { return Traits::decode(in, head.first, head.count, ref); });
  }

  [[nodiscard]] Record in_pieces(std::size_t n) const {
    const auto after = std::upper_bound(starts_.begin(), starts_.end(), n);
    const auto number = static_cast<std::size_t>(after - starts_.begin()) - 1;
    return pieces_[number].as_of_whole((*pieces_[number].table)[n - starts_[number]]);
  }

  BlockShape shape_{Traits::kUsualRecords, BlockShape{}.fan_out};
  std::uint64_t in_blocks_ = 0;  ///< records
  std::vector<References> references_;
  Records open_;
  std::shared_ptr<IndexBlocks> blocks_;
  std::vector<Piece> pieces_;        ///< of a joined table, whose last record alone is in open_
  std::vector<std::size_t> starts_;  ///< of them
};

}  // namespace chronovisor
