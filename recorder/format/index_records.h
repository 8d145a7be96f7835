// Owns the records that a recording's index consists of, and how they lie in its tables
// (recorder/format/index_table.h). Knows no file. Values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "recorder/format/chunk.h"
#include "recorder/format/index_table.h"

namespace chronovisor {

/// Where a chunk lies; its sequence number is its place in the table.
struct ChunkEntry {
  std::uint64_t offset = 0;
  std::uint32_t type = 0;  ///< as stored; 0 when the chunk was lost
  std::uint32_t stored_length = 0;
  std::uint32_t raw_length = 0;
  bool usable = true;
  bool operator==(const ChunkEntry&) const = default;
};

/// Data too large for one chunk: `count` consecutive chunks from `first`.
struct StreamRef {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool operator==(const StreamRef&) const = default;
};

struct InputRange {
  Position from;
  Position complete_to;
  std::uint64_t events = 0;
  std::uint64_t sequence = 0;
  bool operator==(const InputRange&) const = default;
};

struct CheckpointInfo {
  Position position;
  std::uint64_t idle_ns = 0;
  Hash128 digest;
  /// The checkpoint whose pages this one's differ from, by its place in
  /// checkpoints(); nothing when the pages differ from a memory of zeros.
  std::optional<std::uint32_t> parent;
  std::uint64_t pages = 0;  ///< how many pages differ
  StreamRef sections;
  StreamRef directory;
  StreamRef map;
  std::uint64_t sequence = 0;
  /// How many pages the directories of the checkpoints before it list, where that is known
  /// without reading them.
  std::optional<std::uint32_t> pages_before{};
};
/// Whether both say the same, known or not where pages begin.
[[nodiscard]] bool operator==(const CheckpointInfo& a, const CheckpointInfo& b);

/// An opaque search index over the interval [from, to).
struct IntervalInfo {
  Position from;
  Position to;
  std::uint64_t sequence = 0;
  bool operator==(const IntervalInfo&) const = default;
};

/// A filter over the intervals that [from, to) is made of: kFilterGroup of them on level 0,
/// so many groups of the level below on the others.
template <unsigned kLevel>
struct FilterOf {
  Position from;
  Position to;
  std::uint64_t sequence = 0;
  bool operator==(const FilterOf&) const = default;
};

/// A chunk of a type that is found by its place among those of its type.
template <ChunkType kType>
struct ChunkOf {
  std::uint64_t sequence = 0;
  bool operator==(const ChunkOf&) const = default;
};

// As in payloads of chunks.
void encode_position_range(Position from, Position to, ByteWriter& out);
void decode_position_range(ByteReader& in, Position& from, Position& to);
void encode_stream(const StreamRef& stream, ByteWriter& out);
[[nodiscard]] StreamRef decode_stream(ByteReader& in);
void encode_hash(const Hash128& hash, ByteWriter& out);
[[nodiscard]] Hash128 decode_hash(ByteReader& in);
void put_checkpoint(const CheckpointInfo& checkpoint, ByteWriter& out);
[[nodiscard]] CheckpointInfo take_checkpoint(ByteReader& in);
/// One of the footer's table of chunks.
void put_chunk(const ChunkEntry& chunk, ByteWriter& out);
[[nodiscard]] ChunkEntry take_chunk(ByteReader& in, std::uint64_t offset);

/// chunks := varint offset of the first, { varint type number << 1 | critical,
///           varint stored length, varint raw length } ...; the others follow end to end
template <>
struct IndexTraits<ChunkEntry> {
  static constexpr std::uint8_t kTable = 0;
  static constexpr std::uint64_t kUsualRecords = 1024;
  static void encode(std::span<const ChunkEntry> records, std::uint64_t first, ByteWriter& out);
  static std::vector<ChunkEntry> decode(ByteReader& in, std::uint64_t first, std::uint64_t count,
                                        const BlockRef& limit);
};

/// inputs := varint from, { varint sequence, varint length, varint events } ...
template <>
struct IndexTraits<InputRange> {
  static constexpr std::uint8_t kTable = 1;
  static constexpr std::uint64_t kUsualRecords = 1024;
  static void encode(std::span<const InputRange> records, std::uint64_t first, ByteWriter& out);
  static std::vector<InputRange> decode(ByteReader& in, std::uint64_t first, std::uint64_t count,
                                        const BlockRef& limit);
};

/// checkpoints := { varint sequence, varint pages before + 1 (0: not known), checkpoint } ...
template <>
struct IndexTraits<CheckpointInfo> {
  static constexpr std::uint8_t kTable = 2;
  static constexpr std::uint64_t kUsualRecords = 128;
  static void encode(std::span<const CheckpointInfo> records, std::uint64_t first, ByteWriter& out);
  static std::vector<CheckpointInfo> decode(ByteReader& in, std::uint64_t first,
                                            std::uint64_t count, const BlockRef& limit);
};

/// intervals := { varint sequence, varint from, varint length } ...
template <>
struct IndexTraits<IntervalInfo> {
  static constexpr std::uint8_t kTable = 3;
  static constexpr std::uint64_t kUsualRecords = 1024;
  static void encode(std::span<const IntervalInfo> records, std::uint64_t first, ByteWriter& out);
  static std::vector<IntervalInfo> decode(ByteReader& in, std::uint64_t first, std::uint64_t count,
                                          const BlockRef& limit);
};

/// filters := as intervals
template <unsigned kLevel>
struct IndexTraits<FilterOf<kLevel>> {
  static constexpr std::uint8_t kTable = 10 + kLevel;
  static constexpr std::uint64_t kUsualRecords = 1024;
  static void encode(std::span<const FilterOf<kLevel>> records, std::uint64_t first,
                     ByteWriter& out) {
    std::vector<IntervalInfo> intervals;
    for (const FilterOf<kLevel>& record : records) {
      intervals.push_back({record.from, record.to, record.sequence});
    }
    IndexTraits<IntervalInfo>::encode(intervals, first, out);
  }
  static std::vector<FilterOf<kLevel>> decode(ByteReader& in, std::uint64_t first,
                                              std::uint64_t count, const BlockRef& limit) {
    std::vector<FilterOf<kLevel>> records;
    for (const IntervalInfo& info : IndexTraits<IntervalInfo>::decode(in, first, count, limit)) {
      records.push_back({info.from, info.to, info.sequence});
    }
    return records;
  }
};

/// sequences := { varint sequence - the one before } ..., ascending; the first from 0
void encode_sequences(std::span<const std::uint64_t> sequences, ByteWriter& out);
[[nodiscard]] std::vector<std::uint64_t> decode_sequences(ByteReader& in, std::uint64_t count,
                                                          const BlockRef& limit);

/// The number of the table of chunks of a type.
[[nodiscard]] constexpr std::uint8_t table_of(ChunkType type) {
  switch (type) {
    case ChunkType::digests:
      return 4;
    case ChunkType::console:
      return 5;
    case ChunkType::bookmark:  // and their removals
      return 6;
    case ChunkType::sent_frames:
      return 7;
    case ChunkType::counted_log:
      return 8;
    case ChunkType::block_directory:
      return 9;
    default:
      return 0xff;
  }
}

template <ChunkType kType>
struct IndexTraits<ChunkOf<kType>> {
  static constexpr std::uint8_t kTable = table_of(kType);
  static_assert(kTable != 0xff);
  static constexpr std::uint64_t kUsualRecords = 1024;
  static void encode(std::span<const ChunkOf<kType>> records, std::uint64_t /*first*/,
                     ByteWriter& out) {
    std::vector<std::uint64_t> sequences;
    for (const ChunkOf<kType>& record : records) sequences.push_back(record.sequence);
    encode_sequences(sequences, out);
  }
  static std::vector<ChunkOf<kType>> decode(ByteReader& in, std::uint64_t /*first*/,
                                            std::uint64_t count, const BlockRef& limit) {
    std::vector<ChunkOf<kType>> records;
    for (const std::uint64_t sequence : decode_sequences(in, count, limit)) {
      records.push_back({sequence});
    }
    return records;
  }
};

/// What there is in a recording before one of its parts. In the part all is counted from its
/// own beginning.
struct PartBase {
  std::uint64_t chunks = 0;
  std::uint32_t checkpoints = 0;
  std::uint32_t pages = 0;  ///< in directories
};
/// A record of a part as one of the whole.
[[nodiscard]] inline ChunkEntry rebased(ChunkEntry record, const PartBase& /*base*/) {
  return record;  // its offset is in the part's file
}
[[nodiscard]] CheckpointInfo rebased(CheckpointInfo record, const PartBase& base);
template <class Record>
[[nodiscard]] Record rebased(Record record, const PartBase& base) {
  record.sequence += base.chunks;
  return record;
}

}  // namespace chronovisor
