#include "recorder/format/index_records.h"

#include <tuple>

#include "base/error.h"
#include "recorder/format/page_table.h"

namespace chronovisor {
namespace {

std::uint64_t take_sequence(ByteReader& in, const BlockRef& limit) {
  const std::uint64_t sequence = in.varint();
  if (sequence >= limit.sequence) in.fail("a chunk that does not come before the index of it");
  return sequence;
}

void require_before(const StreamRef& stream, std::uint64_t sequence, ByteReader& in) {
  if (stream.first > sequence || stream.count > sequence - stream.first) {
    in.fail("refers to chunks that do not come before it");
  }
}

}  // namespace

bool operator==(const CheckpointInfo& a, const CheckpointInfo& b) {
  const auto facts = [](const CheckpointInfo& info) {
    return std::tie(info.position, info.idle_ns, info.digest, info.parent, info.pages,
                    info.sections, info.directory, info.map, info.sequence);
  };
  return facts(a) == facts(b);
}

CheckpointInfo rebased(CheckpointInfo record, const PartBase& base) {
  record.sequence += base.chunks;
  for (StreamRef* stream : {&record.sections, &record.directory, &record.map}) {
    stream->first += base.chunks;
  }
  if (record.parent) *record.parent += base.checkpoints;
  if (record.pages_before) *record.pages_before += base.pages;
  return record;
}

void encode_hash(const Hash128& hash, ByteWriter& out) {
  out.integer(hash.low);
  out.integer(hash.high);
}

Hash128 decode_hash(ByteReader& in) {
  Hash128 hash;
  hash.low = in.integer<std::uint64_t>();
  hash.high = in.integer<std::uint64_t>();
  return hash;
}

void encode_stream(const StreamRef& stream, ByteWriter& out) {
  out.varint(stream.first);
  out.varint(stream.count);
}

StreamRef decode_stream(ByteReader& in) {
  StreamRef stream;
  stream.first = in.varint();
  stream.count = in.varint();
  return stream;
}

/// A position and a length: [from, from + length].
void encode_position_range(Position from, Position to, ByteWriter& out) {
  out.varint(from.steps);
  out.varint(to.steps - from.steps);
}

void decode_position_range(ByteReader& in, Position& from, Position& to) {
  from.steps = in.varint();
  const std::uint64_t length = in.varint();
  if (length > ~from.steps) in.fail("a range of positions overflows");
  to.steps = from.steps + length;
}

void put_checkpoint(const CheckpointInfo& checkpoint, ByteWriter& out) {
  out.varint(checkpoint.position.steps);
  out.varint(checkpoint.idle_ns);
  encode_hash(checkpoint.digest, out);
  out.varint(checkpoint.parent ? std::uint64_t{*checkpoint.parent} + 1 : 0);
  out.varint(checkpoint.pages);
  encode_stream(checkpoint.sections, out);
  encode_stream(checkpoint.directory, out);
  encode_stream(checkpoint.map, out);
}

CheckpointInfo take_checkpoint(ByteReader& in) {
  CheckpointInfo checkpoint;
  checkpoint.position.steps = in.varint();
  checkpoint.idle_ns = in.varint();
  checkpoint.digest = decode_hash(in);
  const std::uint64_t parent = in.varint();
  if (parent > kMostNumbered) in.fail("a parent checkpoint out of range");
  if (parent != 0) checkpoint.parent = static_cast<std::uint32_t>(parent - 1);
  checkpoint.pages = in.varint();
  checkpoint.sections = decode_stream(in);
  checkpoint.directory = decode_stream(in);
  checkpoint.map = decode_stream(in);
  return checkpoint;
}

void put_chunk(const ChunkEntry& chunk, ByteWriter& out) {
  const std::uint64_t number = chunk.type & ~kCriticalFlag;
  out.varint(number << 1 | ((chunk.type & kCriticalFlag) != 0 ? 1 : 0));
  out.varint(chunk.stored_length);
  out.varint(chunk.raw_length);
}

ChunkEntry take_chunk(ByteReader& in, std::uint64_t offset) {
  const std::uint64_t type = in.varint();
  const std::uint64_t stored = in.varint();
  const std::uint64_t raw = in.varint();
  if (type < 2 || type > 0xffff'ffff || stored > kMaxChunkBytes || raw > kMaxChunkBytes) {
    in.fail("a chunk's type or length is out of range");
  }
  ChunkEntry chunk;
  chunk.offset = offset;
  chunk.type = static_cast<std::uint32_t>(type >> 1) | ((type & 1) != 0 ? kCriticalFlag : 0);
  chunk.stored_length = static_cast<std::uint32_t>(stored);
  chunk.raw_length = static_cast<std::uint32_t>(raw);
  return chunk;
}

void IndexTraits<ChunkEntry>::encode(std::span<const ChunkEntry> records, std::uint64_t /*first*/,
                                     ByteWriter& out) {
  if (records.empty()) return;
  out.varint(records.front().offset);
  for (const ChunkEntry& chunk : records) put_chunk(chunk, out);
}

std::vector<ChunkEntry> IndexTraits<ChunkEntry>::decode(ByteReader& in, std::uint64_t /*first*/,
                                                        std::uint64_t count,
                                                        const BlockRef& limit) {
  std::vector<ChunkEntry> chunks;
  if (count == 0) return chunks;
  std::uint64_t offset = in.varint();
  for (std::uint64_t n = 0; n < count; ++n) {
    if (offset >= limit.offset) in.fail("a chunk lies behind the index of it");
    chunks.push_back(take_chunk(in, offset));
    offset += kChunkHeaderSize + chunks.back().stored_length;
  }
  if (offset > limit.offset) in.fail("a chunk lies behind the index of it");
  return chunks;
}

void IndexTraits<InputRange>::encode(std::span<const InputRange> records, std::uint64_t /*first*/,
                                     ByteWriter& out) {
  if (records.empty()) return;
  out.varint(records.front().from.steps);
  for (const InputRange& range : records) {
    out.varint(range.sequence);
    out.varint(range.complete_to.steps - range.from.steps);
    out.varint(range.events);
  }
}

std::vector<InputRange> IndexTraits<InputRange>::decode(ByteReader& in, std::uint64_t /*first*/,
                                                        std::uint64_t count,
                                                        const BlockRef& limit) {
  std::vector<InputRange> ranges;
  if (count == 0) return ranges;
  Position from{in.varint()};
  for (std::uint64_t n = 0; n < count; ++n) {
    InputRange range;
    range.sequence = take_sequence(in, limit);
    if (!ranges.empty() && range.sequence <= ranges.back().sequence) {
      in.fail("the input log does not go on where it left off");
    }
    const std::uint64_t length = in.varint();
    if (length > ~from.steps) in.fail("a range of positions overflows");
    range.from = from;
    range.complete_to = from = Position{from.steps + length};
    range.events = in.varint();
    ranges.push_back(range);
  }
  return ranges;
}

void IndexTraits<CheckpointInfo>::encode(std::span<const CheckpointInfo> records,
                                         std::uint64_t /*first*/, ByteWriter& out) {
  for (const CheckpointInfo& checkpoint : records) {
    out.varint(checkpoint.sequence);
    out.varint(checkpoint.pages_before ? std::uint64_t{*checkpoint.pages_before} + 1 : 0);
    put_checkpoint(checkpoint, out);
  }
}

std::vector<CheckpointInfo> IndexTraits<CheckpointInfo>::decode(ByteReader& in, std::uint64_t first,
                                                                std::uint64_t count,
                                                                const BlockRef& limit) {
  std::vector<CheckpointInfo> checkpoints;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t sequence = take_sequence(in, limit);
    const std::uint64_t before = in.varint();
    if (before > std::uint64_t{kMostNumbered} + 1) in.fail("more pages than can be numbered");
    CheckpointInfo checkpoint = take_checkpoint(in);
    checkpoint.sequence = sequence;
    if (before != 0) checkpoint.pages_before = static_cast<std::uint32_t>(before - 1);
    require_before(checkpoint.sections, sequence, in);
    require_before(checkpoint.directory, sequence, in);
    require_before(checkpoint.map, sequence, in);
    // So a chain of parents ends.
    if (checkpoint.parent && *checkpoint.parent >= first + n) {
      in.fail("a checkpoint before its parent");
    }
    if (!checkpoints.empty() && (sequence <= checkpoints.back().sequence ||
                                 checkpoint.position < checkpoints.back().position)) {
      in.fail("checkpoints are not in order");
    }
    checkpoints.push_back(checkpoint);
  }
  return checkpoints;
}

void IndexTraits<IntervalInfo>::encode(std::span<const IntervalInfo> records,
                                       std::uint64_t /*first*/, ByteWriter& out) {
  for (const IntervalInfo& interval : records) {
    out.varint(interval.sequence);
    encode_position_range(interval.from, interval.to, out);
  }
}

std::vector<IntervalInfo> IndexTraits<IntervalInfo>::decode(ByteReader& in, std::uint64_t /*first*/,
                                                            std::uint64_t count,
                                                            const BlockRef& limit) {
  std::vector<IntervalInfo> intervals;
  for (std::uint64_t n = 0; n < count; ++n) {
    IntervalInfo interval;
    interval.sequence = take_sequence(in, limit);
    decode_position_range(in, interval.from, interval.to);
    intervals.push_back(interval);
  }
  return intervals;
}

void encode_sequences(std::span<const std::uint64_t> sequences, ByteWriter& out) {
  std::uint64_t before = 0;
  for (const std::uint64_t sequence : sequences) {
    out.varint(sequence - before);
    before = sequence;
  }
}

std::vector<std::uint64_t> decode_sequences(ByteReader& in, std::uint64_t count,
                                            const BlockRef& limit) {
  std::vector<std::uint64_t> sequences;
  std::uint64_t sequence = 0;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t more = in.varint();
    if ((n != 0 && more == 0) || more >= limit.sequence - sequence) {
      in.fail("a chunk that does not come before the index of it");
    }
    sequence += more;
    sequences.push_back(sequence);
  }
  return sequences;
}

}  // namespace chronovisor
