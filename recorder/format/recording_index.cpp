#include "recorder/format/recording_index.h"

#include <algorithm>

#include "base/error.h"
#include "recorder/format/input_log.h"

namespace chronovisor {

namespace {

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
void encode_range(Position from, Position to, ByteWriter& out) {
  out.varint(from.steps);
  out.varint(to.steps - from.steps);
}

void decode_range(ByteReader& in, Position& from, Position& to) {
  from.steps = in.varint();
  const std::uint64_t length = in.varint();
  if (length > ~from.steps) in.fail("a range of positions overflows");
  to.steps = from.steps + length;
}

void encode_optional(const std::optional<std::uint64_t>& value, ByteWriter& out) {
  out.varint(value ? *value + 1 : 0);
}

std::optional<std::uint64_t> decode_optional(ByteReader& in) {
  const std::uint64_t value = in.varint();
  if (value == 0) return {};
  return value - 1;
}

void put_image(const ImageInfo& image, ByteWriter& out) {
  out.sized_text(image.role);
  out.sized_text(image.path);
  out.varint(image.size_bytes);
  encode_hash(image.hash, out);
  out.integer(static_cast<std::uint8_t>(image.storage));
  encode_stream(image.data, out);
}

ImageInfo decode_image(ByteReader& in) {
  ImageInfo image;
  image.role = in.sized_text(kMaxTextBytes);
  image.path = in.sized_text(kMaxTextBytes);
  image.size_bytes = in.varint();
  image.hash = decode_hash(in);
  const auto storage = in.integer<std::uint8_t>();
  if (storage > 1) in.fail("an image storage that is not known");
  image.storage = static_cast<ImageStorage>(storage);
  image.data = decode_stream(in);
  return image;
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

CheckpointInfo decode_checkpoint(ByteReader& in) {
  CheckpointInfo checkpoint;
  checkpoint.position.steps = in.varint();
  checkpoint.idle_ns = in.varint();
  checkpoint.digest = decode_hash(in);
  const std::uint64_t parent = in.varint();
  if (parent > 0xffff'ffff) in.fail("a parent checkpoint out of range");
  if (parent != 0) checkpoint.parent = static_cast<std::uint32_t>(parent - 1);
  checkpoint.pages = in.varint();
  checkpoint.sections = decode_stream(in);
  checkpoint.directory = decode_stream(in);
  checkpoint.map = decode_stream(in);
  return checkpoint;
}

/// A count of records that take at least `least` bytes each.
std::uint64_t decode_count(ByteReader& in, std::size_t least) {
  const std::uint64_t count = in.varint();
  if (count > in.remaining() / least) {
    in.fail("a count of " + std::to_string(count) + " is more than the bytes left can hold");
  }
  return count;
}

std::vector<ChunkEntry> decode_chunks(ByteReader& in, std::uint64_t footer_offset) {
  std::vector<ChunkEntry> chunks(static_cast<std::size_t>(decode_count(in, 3)));
  std::uint64_t offset = kFileHeaderSize;
  for (ChunkEntry& chunk : chunks) {
    const std::uint64_t type = in.varint();
    const std::uint64_t stored = in.varint();
    const std::uint64_t raw = in.varint();
    if (type < 2 || type > 0xffff'ffff || stored > kMaxChunkBytes || raw > kMaxChunkBytes) {
      in.fail("a chunk's type or length is out of range");
    }
    chunk.type = static_cast<std::uint32_t>(type >> 1) | ((type & 1) != 0 ? kCriticalFlag : 0);
    chunk.offset = offset;
    chunk.stored_length = static_cast<std::uint32_t>(stored);
    chunk.raw_length = static_cast<std::uint32_t>(raw);
    offset += kChunkHeaderSize + stored;
  }
  if (offset != footer_offset) in.fail("the chunks do not end where the footer begins");
  return chunks;
}

}  // namespace

Bytes encode_image(const ImageInfo& image) {
  ByteWriter out;
  put_image(image, out);
  return out.take();
}

Bytes encode_checkpoint(const CheckpointInfo& checkpoint) {
  ByteWriter out;
  put_checkpoint(checkpoint, out);
  return out.take();
}

void encode_interval_head(const IntervalInfo& interval, ByteWriter& out) {
  encode_range(interval.from, interval.to, out);
}

IntervalInfo decode_interval_head(ByteReader& in) {
  IntervalInfo interval;
  decode_range(in, interval.from, interval.to);
  return interval;
}

bool RecordingIndex::wants_payload(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::metadata:
    case ChunkType::summary:
    case ChunkType::image:
    case ChunkType::input_log:
    case ChunkType::checkpoint:
    case ChunkType::interval_index:
      return true;
    default:
      return false;
  }
}

void RecordingIndex::add_payload(std::uint64_t sequence, ByteView payload, std::string_view what) {
  ByteReader in(payload, what);
  switch (static_cast<ChunkType>(chunks[sequence].type)) {
    case ChunkType::metadata:
      if (metadata) in.fail("a second metadata chunk");
      metadata = sequence;
      return;
    case ChunkType::summary:
      if (summary) in.fail("a second summary chunk");
      summary = sequence;
      return;
    case ChunkType::input_log: {
      const InputChunk chunk = decode_input_chunk(payload, what);
      add_input_range({chunk.from, chunk.complete_to, chunk.events.size(), sequence}, in);
      return;
    }
    case ChunkType::interval_index: {
      IntervalInfo interval = decode_interval_head(in);
      interval.sequence = sequence;
      add_interval(interval, in);
      return;
    }
    case ChunkType::image: {
      ImageInfo image = decode_image(in);
      image.sequence = sequence;
      add_image(image, in);
      break;
    }
    case ChunkType::checkpoint: {
      CheckpointInfo checkpoint = decode_checkpoint(in);
      checkpoint.sequence = sequence;
      add_checkpoint(checkpoint, in);
      break;
    }
    default:
      return;
  }
  if (!in.at_end()) in.fail("bytes are left over");
}

void RecordingIndex::require_type(std::uint64_t sequence, ChunkType type, Reader& in) const {
  if (sequence >= chunks.size() ||
      chunks[static_cast<std::size_t>(sequence)].type != static_cast<std::uint32_t>(type)) {
    in.fail("chunk " + std::to_string(sequence) + " is no " +
            chunk_type_name(static_cast<std::uint32_t>(type)) + " chunk");
  }
}

void RecordingIndex::require_stream(const StreamRef& stream, std::uint64_t sequence,
                                    Reader& in) const {
  if (stream.first > sequence || stream.count > sequence - stream.first) {
    in.fail("refers to chunks that do not come before it");
  }
}

void RecordingIndex::add_input_range(const InputRange& range, Reader& in) {
  require_type(range.sequence, ChunkType::input_log, in);
  if (!inputs.empty() &&
      (range.sequence <= inputs.back().sequence || range.from != inputs.back().complete_to)) {
    in.fail("the input log does not go on where it left off");
  }
  inputs.push_back(range);
}

void RecordingIndex::add_image(const ImageInfo& image, Reader& in) {
  require_type(image.sequence, ChunkType::image, in);
  require_stream(image.data, image.sequence, in);
  if (images.size() >= kMaxImages) in.fail("more images than the limit");
  if (image.storage == ImageStorage::referenced && image.data.count != 0) {
    in.fail("an image that is referenced and embedded");
  }
  images.push_back(image);
}

void RecordingIndex::add_checkpoint(const CheckpointInfo& checkpoint, Reader& in) {
  require_type(checkpoint.sequence, ChunkType::checkpoint, in);
  require_stream(checkpoint.sections, checkpoint.sequence, in);
  require_stream(checkpoint.directory, checkpoint.sequence, in);
  require_stream(checkpoint.map, checkpoint.sequence, in);
  if (checkpoint.parent && *checkpoint.parent >= checkpoints.size()) {
    in.fail("a checkpoint before its parent");
  }
  if (!checkpoints.empty() && (checkpoint.sequence <= checkpoints.back().sequence ||
                               checkpoint.position < checkpoints.back().position)) {
    in.fail("checkpoints are not in order");
  }
  checkpoints.push_back(checkpoint);
}

void RecordingIndex::add_interval(const IntervalInfo& interval, Reader& in) {
  require_type(interval.sequence, ChunkType::interval_index, in);
  intervals.push_back(interval);
}

Bytes RecordingIndex::encode() const {
  ByteWriter out;
  out.varint(chunks.size());
  for (const ChunkEntry& chunk : chunks) {
    const std::uint64_t number = chunk.type & ~kCriticalFlag;
    out.varint(number << 1 | ((chunk.type & kCriticalFlag) != 0 ? 1 : 0));
    out.varint(chunk.stored_length);
    out.varint(chunk.raw_length);
  }
  encode_optional(metadata, out);
  encode_optional(summary, out);
  out.varint(inputs.size());
  for (const InputRange& range : inputs) {
    out.varint(range.sequence);
    encode_range(range.from, range.complete_to, out);
    out.varint(range.events);
  }
  out.varint(images.size());
  for (const ImageInfo& image : images) {
    out.varint(image.sequence);
    put_image(image, out);
  }
  out.varint(checkpoints.size());
  for (const CheckpointInfo& checkpoint : checkpoints) {
    out.varint(checkpoint.sequence);
    put_checkpoint(checkpoint, out);
  }
  out.varint(intervals.size());
  for (const IntervalInfo& interval : intervals) {
    out.varint(interval.sequence);
    encode_interval_head(interval, out);
  }
  return out.take();
}

RecordingIndex RecordingIndex::decode(ByteView payload, std::uint64_t footer_offset,
                                      std::string_view what) {
  ByteReader in(payload, what);
  RecordingIndex index;
  index.chunks = decode_chunks(in, footer_offset);
  index.metadata = decode_optional(in);
  if (index.metadata) index.require_type(*index.metadata, ChunkType::metadata, in);
  index.summary = decode_optional(in);
  if (index.summary) index.require_type(*index.summary, ChunkType::summary, in);
  for (std::uint64_t left = decode_count(in, 4); left != 0; --left) {
    InputRange range;
    range.sequence = in.varint();
    decode_range(in, range.from, range.complete_to);
    range.events = in.varint();
    index.add_input_range(range, in);
  }
  for (std::uint64_t left = decode_count(in, 23); left != 0; --left) {
    const std::uint64_t sequence = in.varint();
    ImageInfo image = decode_image(in);
    image.sequence = sequence;
    index.add_image(image, in);
  }
  for (std::uint64_t left = decode_count(in, 27); left != 0; --left) {
    const std::uint64_t sequence = in.varint();
    CheckpointInfo checkpoint = decode_checkpoint(in);
    checkpoint.sequence = sequence;
    index.add_checkpoint(checkpoint, in);
  }
  for (std::uint64_t left = decode_count(in, 3); left != 0; --left) {
    const std::uint64_t sequence = in.varint();
    IntervalInfo interval = decode_interval_head(in);
    interval.sequence = sequence;
    index.add_interval(interval, in);
  }
  if (!in.at_end()) in.fail("bytes are left over");
  return index;
}

Position RecordingIndex::start() const { return inputs.empty() ? Position{} : inputs[0].from; }

Position RecordingIndex::complete_before(std::uint64_t sequence) const {
  const auto after =
      std::partition_point(inputs.begin(), inputs.end(),
                           [&](const InputRange& range) { return range.sequence < sequence; });
  return after == inputs.begin() ? start() : std::prev(after)->complete_to;
}

}  // namespace chronovisor
