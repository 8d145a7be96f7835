#include "recorder/format/recording_index.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "recorder/format/input_log.h"
#include "recorder/format/records.h"

namespace chronovisor {

namespace {

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

/// A count of records that take at least `least` bytes each.
std::uint64_t decode_count(ByteReader& in, std::size_t least) {
  const std::uint64_t count = in.varint();
  if (count > in.remaining() / least) {
    in.fail("a count of " + std::to_string(count) + " is more than the bytes left can hold");
  }
  return count;
}

void decode_chunks(ByteReader& in, std::uint64_t footer_offset, RecordingIndex& index) {
  std::uint64_t offset = kFileHeaderSize;
  for (std::uint64_t left = decode_count(in, 3); left != 0; --left) {
    index.add_chunk(take_chunk(in, offset));
    offset += kChunkHeaderSize + index.chunks.back().stored_length;
  }
  if (offset != footer_offset) in.fail("the chunks do not end where the footer begins");
}

/// How the root's payload begins; another layout is another number.
constexpr std::uint64_t kRootLayout = 2;
/// The same without filters.
constexpr std::uint64_t kFirstRootLayout = 1;
constexpr std::uint8_t kFirstFilterTable = IndexTraits<FilterOf<0>>::kTable;
constexpr std::uint64_t kMostIntervals = std::uint64_t{1} << 48;

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
  encode_position_range(interval.from, interval.to, out);
}

IntervalInfo decode_interval_head(ByteReader& in) {
  IntervalInfo interval;
  decode_position_range(in, interval.from, interval.to);
  return interval;
}

/// All tables, in the order of their numbers.
template <class Index, class Visit>
void RecordingIndex::for_each_table(Index& index, Visit&& visit) {
  visit(index.chunks);
  visit(index.inputs);
  visit(index.checkpoints);
  visit(index.intervals);
  visit(index.digests);
  visit(index.consoles);
  visit(index.bookmarks);
  visit(index.frames);
  visit(index.counted);
  visit(index.block_directories);
  visit(index.filters);
  visit(index.group_filters);
  visit(index.large_filters);
}

bool RecordingIndex::wants_payload(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::metadata:
    case ChunkType::summary:
    case ChunkType::image:
    case ChunkType::input_log:
    case ChunkType::checkpoint:
    case ChunkType::interval_index:
    case ChunkType::interval_filter:
    case ChunkType::digests:
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
      for (const InputEvent& event : chunk.events) {
        if (tallies) ++tallies->inputs[static_cast<std::uint8_t>(event.kind)];
      }
      return;
    }
    case ChunkType::digests:
      if (tallies) tallies->digests += decode_digests(payload, what).size();
      return;
    case ChunkType::interval_index: {
      IntervalInfo interval = decode_interval_head(in);
      interval.sequence = sequence;
      check_interval(interval, in);
      add_interval(interval);
      return;
    }
    case ChunkType::interval_filter: {
      const auto level = in.integer<std::uint8_t>();
      IntervalInfo filter = decode_interval_head(in);
      filter.sequence = sequence;
      add_filter(level, filter);
      return;
    }
    case ChunkType::image: {
      ImageInfo image = decode_image(in);
      image.sequence = sequence;
      add_image(image, in);
      break;
    }
    case ChunkType::checkpoint: {
      CheckpointInfo checkpoint = take_checkpoint(in);
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
  add_inputs(range);
}

void RecordingIndex::add_inputs(const InputRange& range) {
  if (inputs.empty()) start_ = range.from;
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

void RecordingIndex::check_interval(const IntervalInfo& interval, Reader& in) {
  require_type(interval.sequence, ChunkType::interval_index, in);
}

void RecordingIndex::add_interval(const IntervalInfo& interval) {
  if (!intervals.empty() && interval.from < intervals.back().from) {
    interval_runs.push_back(intervals.size());
  }
  intervals.push_back(interval);
}

void RecordingIndex::add_filter(unsigned level, const IntervalInfo& filter) {
  const auto add = [&](auto& table) {
    if (!table.empty() && filter.from < table.back().to) return;
    if (filter.from < filter.to) table.push_back({filter.from, filter.to, filter.sequence});
  };
  if (level == 0) add(filters);
  if (level == 1) add(group_filters);
  if (level == 2) add(large_filters);
}

Bytes RecordingIndex::encode() const {
  ByteWriter out;
  out.varint(chunks.size());
  for (const ChunkEntry& chunk : chunks) {
    put_chunk(chunk, out);
  }
  encode_optional(metadata, out);
  encode_optional(summary, out);
  out.varint(inputs.size());
  for (const InputRange& range : inputs) {
    out.varint(range.sequence);
    encode_position_range(range.from, range.complete_to, out);
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
  decode_chunks(in, footer_offset, index);
  index.metadata = decode_optional(in);
  if (index.metadata) index.require_type(*index.metadata, ChunkType::metadata, in);
  index.summary = decode_optional(in);
  if (index.summary) index.require_type(*index.summary, ChunkType::summary, in);
  for (std::uint64_t left = decode_count(in, 4); left != 0; --left) {
    InputRange range;
    range.sequence = in.varint();
    decode_position_range(in, range.from, range.complete_to);
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
    CheckpointInfo checkpoint = take_checkpoint(in);
    checkpoint.sequence = sequence;
    index.add_checkpoint(checkpoint, in);
  }
  for (std::uint64_t left = decode_count(in, 3); left != 0; --left) {
    const std::uint64_t sequence = in.varint();
    IntervalInfo interval = decode_interval_head(in);
    interval.sequence = sequence;
    index.check_interval(interval, in);
    index.add_interval(interval);
  }
  if (!in.at_end()) in.fail("bytes are left over");
  return index;
}

void RecordingIndex::decode_runs(Reader& in) {
  for (std::uint64_t left = decode_count(in, 1); left != 0; --left) {
    const std::uint64_t before = interval_runs.empty() ? 0 : interval_runs.back();
    const std::uint64_t more = in.varint();
    if (more == 0 || more > kMostIntervals - before) in.fail("runs of intervals out of order");
    interval_runs.push_back(before + more);
  }
}

Bytes RecordingIndex::encode_root() const {
  ByteWriter out;
  out.varint(kRootLayout);
  encode_optional(metadata, out);
  encode_optional(summary, out);
  out.varint(start_.steps);
  out.varint(images.size());
  for (const ImageInfo& image : images) {
    out.varint(image.sequence);
    put_image(image, out);
  }
  out.varint(totals.size());
  for (const auto& [type, total] : totals) {
    out.integer(type);
    out.varint(total.chunks);
    out.varint(total.stored_bytes);
    out.varint(total.raw_bytes);
  }
  out.integer(static_cast<std::uint8_t>(tallies ? 1 : 0));
  if (tallies) {
    out.varint(tallies->inputs.size());
    for (const auto& [kind, count] : tallies->inputs) {
      out.integer(kind);
      out.varint(count);
    }
    out.varint(tallies->digests);
  }
  out.varint(interval_runs.size());
  std::uint64_t before = 0;
  for (const std::uint64_t run : interval_runs) {
    out.varint(run - before);
    before = run;
  }
  for_each_table(*this, [&](const auto& table) { table.encode(out); });
  return out.take();
}

RecordingIndex RecordingIndex::decode_root(ByteView payload, const BlockRef& place,
                                           const std::shared_ptr<IndexBlocks>& blocks,
                                           std::string_view what) {
  ByteReader in(payload, what);
  const std::uint64_t layout = in.varint();
  if (layout != kRootLayout && layout != kFirstRootLayout) in.fail("an index of another layout");
  RecordingIndex index;
  const auto named = [&] {
    const auto sequence = decode_optional(in);
    if (sequence && *sequence >= place.sequence) in.fail("names a chunk that is not before it");
    return sequence;
  };
  index.metadata = named();
  index.summary = named();
  index.start_.steps = in.varint();
  for (std::uint64_t left = decode_count(in, 23); left != 0; --left) {
    if (index.images.size() >= kMaxImages) in.fail("more images than the limit");
    const std::uint64_t sequence = in.varint();
    ImageInfo image = decode_image(in);
    image.sequence = sequence;
    if (sequence >= place.sequence) in.fail("names an image that is not before it");
    index.require_stream(image.data, sequence, in);
    if (image.storage == ImageStorage::referenced && image.data.count != 0) {
      in.fail("an image that is referenced and embedded");
    }
    index.images.push_back(std::move(image));
  }
  for (std::uint64_t left = decode_count(in, 7); left != 0; --left) {
    TypeTotal& total = index.totals[in.integer<std::uint32_t>()];
    total.chunks = in.varint();
    total.stored_bytes = in.varint();
    total.raw_bytes = in.varint();
  }
  if (in.integer<std::uint8_t>() != 0) {
    Tallies& tallies = index.tallies.emplace();
    for (std::uint64_t left = decode_count(in, 2); left != 0; --left) {
      std::uint64_t& count = tallies.inputs[in.integer<std::uint8_t>()];
      count = in.varint();
    }
    tallies.digests = in.varint();
  }
  index.decode_runs(in);
  for_each_table(index, [&](auto& table) {
    using Table = std::remove_reference_t<decltype(table)>;
    if (layout == kFirstRootLayout && Table::Traits::kTable >= kFirstFilterTable) return;
    table = Table::decode(in, place, blocks);
  });
  if (!in.at_end()) in.fail("bytes are left over");
  if (index.chunks.size() != place.sequence || index.chunks.empty()) {
    in.fail("the chunks are not those before it");
  }
  const ChunkEntry& last = index.chunks.back();
  if (last.offset + kChunkHeaderSize + last.stored_length != place.offset) {
    in.fail("the chunks do not end where the index begins");
  }
  if (!index.interval_runs.empty() && index.interval_runs.back() >= index.intervals.size()) {
    in.fail("runs of intervals out of order");
  }
  return index;
}

Position RecordingIndex::complete_before(std::uint64_t sequence) const {
  if (inputs.empty()) return start();
  if (sequence > inputs.back().sequence) return inputs.back().complete_to;
  const auto after =
      std::partition_point(inputs.begin(), inputs.end(),
                           [&](const InputRange& range) { return range.sequence < sequence; });
  return after == inputs.begin() ? start() : std::prev(after)->complete_to;
}

RecordingIndex RecordingIndex::joined(const std::vector<Piece>& pieces) {
  CHECK_THAT(!pieces.empty(), "parts to join");
  const auto tables = [&](auto member) {
    using Table = std::remove_reference_t<decltype(std::declval<RecordingIndex&>().*member)>;
    std::vector<typename Table::Piece> all;
    for (const Piece& piece : pieces) {
      all.push_back({&(piece.index->*member),
                     [base = piece.base](const auto& record) { return rebased(record, base); }});
    }
    return Table::joined(std::move(all));
  };
  const RecordingIndex& first = *pieces.front().index;
  const RecordingIndex& last = *pieces.back().index;
  RecordingIndex whole;
  whole.metadata = first.metadata;
  if (last.summary) whole.summary = *last.summary + pieces.back().base.chunks;
  // Those of a later part are of the same disks.
  whole.images = first.images;
  whole.start_ = first.start_;
  whole.chunks = tables(&RecordingIndex::chunks);
  whole.inputs = tables(&RecordingIndex::inputs);
  whole.checkpoints = tables(&RecordingIndex::checkpoints);
  whole.intervals = tables(&RecordingIndex::intervals);
  whole.digests = tables(&RecordingIndex::digests);
  whole.consoles = tables(&RecordingIndex::consoles);
  whole.bookmarks = tables(&RecordingIndex::bookmarks);
  whole.frames = tables(&RecordingIndex::frames);
  whole.counted = tables(&RecordingIndex::counted);
  whole.block_directories = tables(&RecordingIndex::block_directories);
  whole.filters = tables(&RecordingIndex::filters);
  whole.group_filters = tables(&RecordingIndex::group_filters);
  whole.large_filters = tables(&RecordingIndex::large_filters);
  whole.tallies.emplace();
  std::uint64_t intervals_before = 0;
  for (const Piece& piece : pieces) {
    for (const std::uint64_t run : piece.index->interval_runs) {
      whole.interval_runs.push_back(run + intervals_before);
    }
    intervals_before += piece.index->intervals.size();
    for (const auto& [type, total] : piece.index->totals) {
      TypeTotal& sum = whole.totals[type];
      sum.chunks += total.chunks;
      sum.stored_bytes += total.stored_bytes;
      sum.raw_bytes += total.raw_bytes;
    }
    if (!piece.index->tallies) whole.tallies.reset();
    if (!whole.tallies) continue;
    for (const auto& [kind, count] : piece.index->tallies->inputs) {
      whole.tallies->inputs[kind] += count;
    }
    whole.tallies->digests += piece.index->tallies->digests;
  }
  return whole;
}

RecordingIndex RecordingIndex::of_new_recording() {
  RecordingIndex index;
  index.tallies.emplace();
  return index;
}

void RecordingIndex::add_chunk(const ChunkEntry& chunk) {
  const std::uint64_t sequence = chunks.size();
  chunks.push_back(chunk);
  TypeTotal& total = totals[chunk.type];
  ++total.chunks;
  total.stored_bytes += kChunkHeaderSize + chunk.stored_length;
  total.raw_bytes += chunk.raw_length;
  switch (static_cast<ChunkType>(chunk.type)) {
    case ChunkType::digests:
      return digests.push_back({sequence});
    case ChunkType::console:
      return consoles.push_back({sequence});
    case ChunkType::bookmark:
    case ChunkType::bookmark_removed:
      return bookmarks.push_back({sequence});
    case ChunkType::sent_frames:
      return frames.push_back({sequence});
    case ChunkType::counted_log:
      return counted.push_back({sequence});
    case ChunkType::block_directory:
      return block_directories.push_back({sequence});
    default:
      return;
  }
}

void RecordingIndex::add_lost_chunks(std::uint64_t sequence, std::uint64_t offset) {
  while (chunks.size() < sequence) chunks.push_back(ChunkEntry{offset, 0, 0, 0, false});
}

void RecordingIndex::shape_blocks(const BlockShape& shape) {
  for_each_table(*this, [&](auto& table) { table.shape(shape); });
}

bool RecordingIndex::needs_blocks() const {
  bool needs = false;
  for_each_table(*this, [&](const auto& table) {
    needs = needs || table.has_blocks() || table.has_full_block();
  });
  return needs;
}

void RecordingIndex::write_full_blocks(const std::function<BlockRef(ByteView)>& write) {
  for_each_table(*this, [&](auto& table) {
    if (static_cast<const void*>(&table) != &chunks) table.write_full_blocks(write);
  });
  chunks.write_full_blocks(write);  // the last: the others' blocks are chunks, too
}

bool RecordingIndex::operator==(const RecordingIndex& other) const {
  return chunks == other.chunks && metadata == other.metadata && summary == other.summary &&
         inputs == other.inputs && images == other.images && checkpoints == other.checkpoints &&
         intervals == other.intervals && interval_runs == other.interval_runs &&
         digests == other.digests && consoles == other.consoles && bookmarks == other.bookmarks &&
         frames == other.frames && counted == other.counted &&
         block_directories == other.block_directories && totals == other.totals &&
         start_ == other.start_;
}

}  // namespace chronovisor
