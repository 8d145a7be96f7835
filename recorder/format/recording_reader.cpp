#include "recorder/format/recording_reader.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "recorder/format/page_cache.h"

namespace chronovisor {

/// Which blocks there are, read when the first is wanted, and data decompressed lately.
struct RecordingReader::BlockCache {
  static constexpr std::size_t kMostChunks = 32;
  struct Cached {
    std::uint64_t sequence = 0;
    std::shared_ptr<const Bytes> data;
  };
  std::mutex mutex;
  bool loaded = false;
  std::unordered_map<std::uint64_t, BlockEntry> entries;
  std::deque<Cached> recent;  ///< the latest in front
};

ReaderOptions ReaderOptions::within(std::uint64_t bytes) {
  constexpr std::uint64_t kLeastIndexBytes = std::uint64_t{1} << 20;
  const ReaderOptions usual;
  ReaderOptions options;
  // As much again is for page directories.
  options.cached_batches = static_cast<std::size_t>(std::clamp<std::uint64_t>(
      bytes / 40 / (kPagesPerBatch * kPageSize), 4, usual.cached_batches));
  options.index_bytes = static_cast<std::size_t>(
      std::clamp<std::uint64_t>(bytes / 80, kLeastIndexBytes, usual.index_bytes));
  return options;
}

RecordingReader::RecordingReader(std::shared_ptr<const InputFile> file, ReaderOptions options)
    : file_(std::move(file)),
      cache_(std::make_unique<PageCache>()),
      blocks_(std::make_unique<BlockCache>()) {
  cache_->limit_bytes = options.cached_batches * kPagesPerBatch * kPageSize;
  open(options);
}

RecordingReader::RecordingReader(const std::string& path, ReaderOptions options)
    : RecordingReader(std::make_shared<PosixInputFile>(path), options) {}

RecordingReader::~RecordingReader() = default;

namespace {

/// Why not even the first chunk is found by this index; nothing: it is.
std::optional<std::string> first_chunk_trouble(const RecordingIndex& index) {
  try {
    if (!index.chunks.empty()) (void)index.chunks.front();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return error.what();
  }
  return std::nullopt;
}

}  // namespace

void RecordingReader::open(const ReaderOptions& options) {
  Bytes start(kFileHeaderSize);
  start.resize(file_->read(0, start));
  header_ = decode_file_header(start, file_->name());
  index_blocks_ = std::make_shared<IndexBlocks>(file_, header_.id);
  index_blocks_->limit(options.index_bytes);
  std::optional<std::string> reason =
      options.rescan ? name() + ": its index is not used" : open_by_footer();
  if (!reason) reason = first_chunk_trouble(index_);
  if (reason) {
    std::optional<ScanResult> tail;
    if (!options.rescan) tail = scan_tail(*file_, header_, index_blocks_);
    if (tail && first_chunk_trouble(tail->index)) tail.reset();
    ScanResult scan = tail ? std::move(*tail) : scan_recording(*file_, header_);
    index_ = std::move(scan.index);
    damage_ = std::move(scan.damage);
    note_recorder_at_work();
    if (damage_.empty()) {
      damage_.push_back({DamageKind::damaged_index, file_->size(), {}, usable_to(), *reason});
    }
  }
  if (!index_.metadata) {
    throw Error{ErrorCode::bad_input,
                damage_.front().message +
                    " (nothing can be used: the metadata was never written or is lost)"};
  }
  const Bytes metadata = read_chunk(*index_.metadata, ChunkType::metadata);
  metadata_json_.assign(metadata.begin(), metadata.end());
}

/// What is at the end of a file that grows is not damage.
void RecordingReader::note_recorder_at_work() {
  if (damage_.empty()) return;
  Damage& last = damage_.back();
  const bool at_end = last.kind == DamageKind::unfinished || last.kind == DamageKind::torn_tail;
  if (!at_end || !file_->is_being_written()) return;
  last.kind = DamageKind::being_written;
  last.message =
      name() + ": is being recorded; so far it goes up to position " + grouped(usable_to().steps);
}

/// Takes the index from the footer, or returns why that cannot be done.
std::optional<std::string> RecordingReader::open_by_footer() {
  Bytes end(kTrailerSize);
  if (file_->size() < kFileHeaderSize + kTrailerSize ||
      file_->read(file_->size() - kTrailerSize, end) != kTrailerSize) {
    return name() + ": no footer";
  }
  const auto trailer = decode_trailer(end, header_.id);
  if (!trailer) return name() + ": no footer";
  try {
    const std::string what = name() + ": footer";
    ChunkType type{};
    const Bytes footer = read_footer(*trailer, what, type);
    const BlockRef at{trailer->footer_sequence, trailer->footer_offset, 0, 0};
    RecordingIndex index = type == ChunkType::index_root
                               ? RecordingIndex::decode_root(footer, at, index_blocks_, what)
                               : RecordingIndex::decode(footer, at.offset, what);
    if (index.chunks.size() != at.sequence) return what + ": wrong chunk count";
    if (!index.metadata) return what + ": it names no metadata";
    index_ = std::move(index);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return std::string(error.what());
  }
  for (const auto& [type, total] : index_.totals) {
    if ((type & kCriticalFlag) == 0 || is_known_type(type)) continue;
    for (std::size_t i = 0; i < index_.chunks.size(); ++i) {
      if (index_.chunks[i].type == type) throw unknown_critical(place(i), type);
    }
  }
  return {};
}

/// The payload of the footer's chunks, which reach to the trailer; `type` is theirs. Throws
/// Error{bad_input}.
Bytes RecordingReader::read_footer(const Trailer& trailer, const std::string& what,
                                   ChunkType& type) const {
  const auto refuse = [&](const std::string& reason) {
    throw Error{ErrorCode::bad_input, what + reason};
  };
  Bytes footer;
  std::uint64_t sequence = trailer.footer_sequence;
  std::uint64_t offset = trailer.footer_offset;
  const std::uint64_t stop = file_->size() - kTrailerSize;
  if (offset < kFileHeaderSize || offset >= stop) refuse(" is out of the file");
  while (offset < stop) {
    std::array<std::uint8_t, kChunkHeaderSize> data{};
    if (file_->read(offset, data) != data.size()) refuse(" is cut off");
    const auto decoded = decode_chunk_header(data, header_.id);
    if (const auto* fault = std::get_if<ChunkFault>(&decoded)) refuse(": " + fault->reason);
    const ChunkHeader& header = std::get<ChunkHeader>(decoded);
    const std::uint64_t after = offset + kChunkHeaderSize + header.stored_length;
    // A root is one chunk, a list of everything may be several.
    const bool is_first = sequence == trailer.footer_sequence;
    const bool is_footer =
        header.type == static_cast<std::uint32_t>(ChunkType::footer) ||
        (is_first && header.type == static_cast<std::uint32_t>(ChunkType::index_root));
    if (!is_footer || header.sequence != sequence || after > stop ||
        (!is_first && type != ChunkType::footer)) {
      refuse(": another chunk is in its place");
    }
    type = static_cast<ChunkType>(header.type);
    Bytes stored(header.stored_length);
    if (file_->read(offset + kChunkHeaderSize, stored) != stored.size()) refuse(" is cut off");
    if (const auto fault = check_payload(header, stored)) refuse(": " + fault->reason);
    const auto payload = decode_payload(header, stored);
    if (const auto* fault = std::get_if<ChunkFault>(&payload)) refuse(": " + fault->reason);
    const Bytes& raw = std::get<Bytes>(payload);
    if (footer.size() + raw.size() > kMaxStreamBytes) refuse(" is too large");
    footer.insert(footer.end(), raw.begin(), raw.end());
    offset = after;
    ++sequence;
  }
  return footer;
}

std::string RecordingReader::place(std::uint64_t sequence) const {
  return chunk_place(name(), sequence, index_.chunks[static_cast<std::size_t>(sequence)].offset);
}

void RecordingReader::fail(std::uint64_t sequence, const std::string& reason) const {
  throw Error{ErrorCode::bad_input,
              place(sequence) + ": " + reason +
                  loss_of(index_.chunks[static_cast<std::size_t>(sequence)].type,
                          index_.complete_before(sequence))};
}

Bytes RecordingReader::read_chunk(std::uint64_t sequence, ChunkType type) const {
  if (sequence >= index_.chunks.size()) {
    throw Error{ErrorCode::bad_input,
                name() + ": chunk " + std::to_string(sequence) + " is not in the file"};
  }
  const ChunkEntry entry = index_.chunks[static_cast<std::size_t>(sequence)];
  if (!entry.usable) fail(sequence, "damaged, missing or after damage");
  if (entry.type != static_cast<std::uint32_t>(type)) {
    fail(sequence, "a chunk of type " + chunk_type_name(entry.type) + " where " +
                       chunk_type_name(static_cast<std::uint32_t>(type)) + " is expected");
  }
  const std::uint64_t left =
      file_->size() - std::min(file_->size(), entry.offset + kChunkHeaderSize);
  if (entry.stored_length > left) fail(sequence, "the file ends within it");
  Bytes data(kChunkHeaderSize + entry.stored_length);
  if (file_->read(entry.offset, data) != data.size()) fail(sequence, "the file ends within it");
  const auto decoded = decode_chunk_header(std::span(data).first<kChunkHeaderSize>(), header_.id);
  if (const auto* fault = std::get_if<ChunkFault>(&decoded)) fail(sequence, fault->reason);
  const ChunkHeader& header = std::get<ChunkHeader>(decoded);
  if (header.type != entry.type || header.sequence != sequence ||
      header.stored_length != entry.stored_length || header.raw_length != entry.raw_length) {
    fail(sequence, "its header and the index contradict each other");
  }
  const ByteView stored = ByteView(data).subspan(kChunkHeaderSize);
  if (const auto fault = check_payload(header, stored)) fail(sequence, fault->reason);
  auto payload = decode_payload(header, stored);
  if (const auto* fault = std::get_if<ChunkFault>(&payload)) fail(sequence, fault->reason);
  return std::get<Bytes>(std::move(payload));
}

Bytes RecordingReader::read_stream(const StreamRef& stream, ChunkType type,
                                   const char* what) const {
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < stream.count; ++i) {
    total += index_.chunks[static_cast<std::size_t>(stream.first + i)].raw_length;
    if (total > kMaxStreamBytes) {
      throw Error{ErrorCode::bad_input, name() + ": " + what + " of more than " +
                                            std::to_string(kMaxStreamBytes) + " bytes"};
    }
  }
  Bytes data;
  for (std::uint64_t i = 0; i < stream.count; ++i) {
    Bytes piece = read_chunk(stream.first + i, type);
    if (stream.count == 1) return piece;
    data.insert(data.end(), piece.begin(), piece.end());
  }
  return data;
}

std::optional<std::string> RecordingReader::summary_json() const {
  if (!index_.summary) return {};
  const Bytes text = read_chunk(*index_.summary, ChunkType::summary);
  return std::string(text.begin(), text.end());
}

std::size_t RecordingReader::cache_bytes() const {
  const std::lock_guard lock(cache_->mutex);
  return cache_->bytes() + index_blocks_->bytes();
}

std::vector<Damage> RecordingReader::verify_bytes() const {
  std::vector<Damage> damage = scan_recording(*file_, header_).damage;
  // A footer that is whole but wrong shows only where it is used.
  if (damage.empty()) damage = damage_;
  return damage;
}

InputChunk RecordingReader::read_inputs(std::size_t range) const {
  CHECK_THAT(range < index_.inputs.size(), "an input range of this recording");
  const InputRange expected = index_.inputs[range];
  InputChunk chunk = decode_input_chunk(read_chunk(expected.sequence, ChunkType::input_log),
                                        place(expected.sequence));
  if (chunk.from != expected.from || chunk.complete_to != expected.complete_to ||
      chunk.events.size() != expected.events) {
    fail(expected.sequence, "its inputs and the index contradict each other");
  }
  return chunk;
}

CountedChunk RecordingReader::read_counted(std::size_t i) const {
  CHECK_THAT(i < index_.counted.size(), "a counted chunk of this recording");
  const std::uint64_t sequence = index_.counted[i].sequence;
  return decode_counted_chunk(read_chunk(sequence, ChunkType::counted_log), place(sequence));
}

FrameChunk RecordingReader::read_frames(std::size_t i) const {
  CHECK_THAT(i < index_.frames.size(), "a chunk of sent frames of this recording");
  const std::uint64_t sequence = index_.frames[i].sequence;
  return decode_frame_chunk(read_chunk(sequence, ChunkType::sent_frames), place(sequence));
}

CheckpointInfo RecordingReader::checked_checkpoint(std::size_t i) const {
  CHECK_THAT(i < index_.checkpoints.size(), "a checkpoint of this recording");
  const CheckpointInfo info = index_.checkpoints[i];
  // The footer has a copy of it; the original must say the same.
  const Bytes payload = read_chunk(info.sequence, ChunkType::checkpoint);
  if (payload != encode_checkpoint(info)) {
    fail(info.sequence, "the checkpoint and the index contradict each other");
  }
  return info;
}

std::optional<std::size_t> RecordingReader::checkpoint_before(Position position) const {
  const auto after = std::partition_point(
      index_.checkpoints.begin(), index_.checkpoints.end(),
      [&](const CheckpointInfo& checkpoint) { return checkpoint.position <= position; });
  if (after == index_.checkpoints.begin()) return {};
  return static_cast<std::size_t>(after - index_.checkpoints.begin()) - 1;
}

std::vector<Section> RecordingReader::load_sections(std::size_t checkpoint) const {
  const CheckpointInfo info = checked_checkpoint(checkpoint);
  return decode_sections(read_stream(info.sections, ChunkType::sections, "sections"),
                         place(info.sequence) + ": sections");
}

std::vector<BlockEntry> RecordingReader::read_block_directory(std::uint64_t sequence) const {
  std::vector<BlockEntry> entries =
      decode_block_directory(read_chunk(sequence, ChunkType::block_directory), place(sequence));
  for (const BlockEntry& entry : entries) {
    if (entry.kind != BlockKind::kept) continue;
    const bool is_there =
        entry.sequence < sequence &&
        index_.chunks[static_cast<std::size_t>(entry.sequence)].raw_length / kBlockBytes >
            entry.index;
    if (!is_there) fail(sequence, "it names block data that are not there");
  }
  return entries;
}

std::vector<BlockEntry> RecordingReader::block_entries() const {
  return block_entries_to({kNever});
}

std::vector<BlockEntry> RecordingReader::block_entries_to(Position position) const {
  std::vector<BlockEntry> all;
  for (const auto& chunk : index_.block_directories) {
    if (!is_usable(chunk.sequence)) continue;
    // What is in the file behind a log was read at its end or later.
    if (index_.complete_before(chunk.sequence) > position) break;
    const std::vector<BlockEntry> some = read_block_directory(chunk.sequence);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::shared_ptr<const Bytes> RecordingReader::block_data(std::uint64_t sequence) const {
  {
    const std::lock_guard lock(blocks_->mutex);
    for (auto at = blocks_->recent.begin(); at != blocks_->recent.end(); ++at) {
      if (at->sequence != sequence) continue;
      std::rotate(blocks_->recent.begin(), at, at + 1);
      return blocks_->recent.front().data;
    }
  }
  // Decompressing without the lock lets other threads read other chunks.
  auto data = std::make_shared<const Bytes>(read_chunk(sequence, ChunkType::block_data));
  const std::lock_guard lock(blocks_->mutex);
  blocks_->recent.push_front({sequence, data});
  if (blocks_->recent.size() > BlockCache::kMostChunks) blocks_->recent.pop_back();
  return data;
}

std::optional<BlockKind> RecordingReader::read_block(std::uint32_t medium, std::uint64_t block,
                                                     PageBytes out) const {
  if (medium >= kMostMedia || block >= kMostBlocks) return std::nullopt;
  BlockEntry entry;
  {
    const std::lock_guard lock(blocks_->mutex);
    if (!blocks_->loaded) {
      for (const BlockEntry& some : block_entries()) {
        blocks_->entries.try_emplace(block_key(some.medium, some.block), some);
      }
      blocks_->loaded = true;
    }
    const auto found = blocks_->entries.find(block_key(medium, block));
    if (found == blocks_->entries.end()) return std::nullopt;
    entry = found->second;
  }
  if (entry.kind != BlockKind::kept) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return entry.kind;
  }
  const std::shared_ptr<const Bytes> data = block_data(entry.sequence);
  const std::size_t at = std::size_t{entry.index} * kBlockBytes;
  if (at + kBlockBytes > data->size()) fail(entry.sequence, "a block lies beyond its end");
  const ByteView content = ByteView(*data).subspan(at, kBlockBytes);
  if (hash128(content) != entry.hash) {
    fail(entry.sequence, "a block's content does not have its hash");
  }
  std::copy(content.begin(), content.end(), out.begin());
  return entry.kind;
}

bool RecordingReader::is_usable(std::uint64_t sequence) const {
  return index_.chunks[static_cast<std::size_t>(sequence)].usable;
}

std::vector<DigestRecord> RecordingReader::digests() const {
  std::vector<DigestRecord> all;
  for (std::size_t i = 0; i < digest_chunks(); ++i) {
    const std::vector<DigestRecord> some = read_digests(i);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::vector<DigestRecord> RecordingReader::read_digests(std::size_t i) const {
  CHECK_THAT(i < index_.digests.size(), "a chunk of digests of this recording");
  const std::uint64_t sequence = index_.digests[i].sequence;
  if (!is_usable(sequence)) return {};
  return decode_digests(read_chunk(sequence, ChunkType::digests), place(sequence));
}

std::uint64_t RecordingReader::digest_count() const {
  return index_.tallies ? index_.tallies->digests : digests().size();
}

std::map<InputKind, std::uint64_t> RecordingReader::input_counts() const {
  std::map<InputKind, std::uint64_t> counts;
  if (index_.tallies) {
    for (const auto& [kind, count] : index_.tallies->inputs) {
      if (is_input_kind(kind)) counts[static_cast<InputKind>(kind)] = count;
    }
    return counts;
  }
  for (std::size_t range = 0; range < index_.inputs.size(); ++range) {
    for (const InputEvent& event : read_inputs(range).events) ++counts[event.kind];
  }
  return counts;
}

Bytes RecordingReader::load_interval(std::size_t i) const {
  CHECK_THAT(i < index_.intervals.size(), "an interval of this recording");
  const IntervalInfo info = index_.intervals[i];
  const Bytes payload = read_chunk(info.sequence, ChunkType::interval_index);
  ByteReader in(payload, place(info.sequence));
  const IntervalInfo head = decode_interval_head(in);
  if (head.from != info.from || head.to != info.to) {
    fail(info.sequence, "the interval and the index contradict each other");
  }
  return {payload.begin() + static_cast<std::ptrdiff_t>(in.offset()), payload.end()};
}

void RecordingReader::for_each_console(const std::function<void(const ConsoleView&)>& visit) const {
  for (std::size_t i = 0; i < console_chunks(); ++i) show_console(i, visit);
}

void RecordingReader::show_console(std::size_t i,
                                   const std::function<void(const ConsoleView&)>& visit) const {
  CHECK_THAT(i < index_.consoles.size(), "a chunk of console output of this recording");
  const std::uint64_t sequence = index_.consoles[i].sequence;
  if (!is_usable(sequence)) return;
  decode_console(read_chunk(sequence, ChunkType::console), place(sequence), visit);
}

std::vector<Bookmark> RecordingReader::bookmarks() const {
  std::vector<std::pair<std::uint64_t, Bookmark>> all;
  std::map<std::string, std::uint64_t> removed;  // a name, and the last chunk that removes it
  for (const auto& [i] : index_.bookmarks) {
    const ChunkEntry entry = index_.chunks[static_cast<std::size_t>(i)];
    if (!entry.usable) continue;
    if (entry.type == static_cast<std::uint32_t>(ChunkType::bookmark_removed)) {
      removed[decode_bookmark_removed(read_chunk(i, ChunkType::bookmark_removed), place(i))] = i;
    } else {
      all.emplace_back(i, decode_bookmark(read_chunk(i, ChunkType::bookmark), place(i)));
    }
  }
  std::vector<Bookmark> left;
  for (auto& [chunk, mark] : all) {
    const auto removal = removed.find(mark.name);
    if (removal == removed.end() || removal->second < chunk) left.push_back(std::move(mark));
  }
  return left;
}

std::vector<TypeSize> RecordingReader::sizes() const {
  std::map<std::uint32_t, TypeSize> by_number;
  for (const auto& [type, total] : index_.totals) {
    TypeSize& size = by_number[type & ~kCriticalFlag];
    size.type = chunk_type_name(type);
    size.chunks += total.chunks;
    size.stored_bytes += total.stored_bytes;
    size.raw_bytes += total.raw_bytes;
  }
  std::vector<TypeSize> sizes;
  for (auto& [number, size] : by_number) sizes.push_back(std::move(size));
  return sizes;
}

InputCursor::InputCursor(const RecordingReader& reader, Position from) : reader_(&reader) {
  const auto& ranges = reader.input_ranges();
  const auto at = std::partition_point(ranges.begin(), ranges.end(), [&](const InputRange& range) {
    return range.complete_to < from;
  });
  range_ = static_cast<std::size_t>(at - ranges.begin());
  while (const InputEvent* event = peek()) {
    if (event->position >= from) break;
    pop();
  }
}

const InputEvent* InputCursor::peek() {
  while (next_ >= events_.size()) {
    if (range_ >= reader_->input_ranges().size()) return nullptr;
    const InputRange range = reader_->input_ranges()[range_];
    if (reached_ && range.from != *reached_) {
      throw Error{ErrorCode::bad_input,
                  reader_->name() +
                      ": the input log does not go on where it left off, at position " +
                      grouped(reached_->steps)};
    }
    reached_ = range.complete_to;
    events_ = range.events == 0 ? std::vector<InputEvent>{} : reader_->read_inputs(range_).events;
    ++range_;
    next_ = 0;
  }
  return &events_[next_];
}

/// An embedded image, read a piece at a time; the latest pieces are kept.
class EmbeddedImage final : public InputFile {
 public:
  EmbeddedImage(const RecordingReader& reader, const ImageInfo& image)
      : reader_(reader), image_(image), name_(reader.name() + ": image " + image.role) {
    std::uint64_t total = 0;
    const auto& chunks = reader.index_.chunks;
    for (std::uint64_t i = 0; i < image.data.count; ++i) {
      starts_.push_back(total);
      total += chunks[static_cast<std::size_t>(image.data.first + i)].raw_length;
    }
    if (total != image.size_bytes) {
      reader.fail(image.sequence, "image " + image.role + ": its parts do not add up to its size");
    }
  }

  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    std::size_t done = 0;
    while (done < out.size() && offset + done < image_.size_bytes) {
      const std::uint64_t at = offset + done;
      const auto after = std::upper_bound(starts_.begin(), starts_.end(), at);
      const auto piece = static_cast<std::size_t>(after - starts_.begin()) - 1;
      const std::shared_ptr<const Bytes> data = piece_data(piece);
      const auto within = static_cast<std::size_t>(at - starts_[piece]);
      const std::size_t count = std::min(out.size() - done, data->size() - within);
      std::copy_n(data->begin() + static_cast<std::ptrdiff_t>(within), count,
                  out.begin() + static_cast<std::ptrdiff_t>(done));
      done += count;
    }
    return done;
  }
  [[nodiscard]] std::uint64_t size() const override { return image_.size_bytes; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  static constexpr std::size_t kMostPieces = 32;
  struct Piece {
    std::size_t number = 0;
    std::shared_ptr<const Bytes> data;
  };

  std::shared_ptr<const Bytes> piece_data(std::size_t number) const {
    {
      const std::lock_guard lock(mutex_);
      for (auto at = recent_.begin(); at != recent_.end(); ++at) {
        if (at->number != number) continue;
        std::rotate(recent_.begin(), at, at + 1);
        return recent_.front().data;
      }
    }
    // Unpacking without the lock lets other threads read other pieces.
    auto data = std::make_shared<const Bytes>(
        reader_.read_chunk(image_.data.first + number, ChunkType::image_data));
    const std::lock_guard lock(mutex_);
    recent_.push_front({number, data});
    if (recent_.size() > kMostPieces) recent_.pop_back();
    return data;
  }

  const RecordingReader& reader_;
  ImageInfo image_;
  std::string name_;
  std::vector<std::uint64_t> starts_;
  mutable std::mutex mutex_;
  mutable std::deque<Piece> recent_;  ///< the latest in front
};

std::unique_ptr<InputFile> RecordingReader::open_image(std::size_t i) const {
  CHECK_THAT(i < index_.images.size(), "an image of this recording");
  const ImageInfo& image = index_.images[i];
  if (image.storage != ImageStorage::embedded) {
    throw Error{ErrorCode::bad_input, name() + ": image " + image.role +
                                          " is not embedded; it is read from " + image.path +
                                          ", whose hash must be " + image.hash.hex()};
  }
  return std::make_unique<EmbeddedImage>(*this, image);
}

Bytes RecordingReader::read_image(std::size_t i, std::uint64_t limit_bytes) const {
  const std::unique_ptr<InputFile> image = open_image(i);
  const ImageInfo& info = index_.images[i];
  if (info.size_bytes > limit_bytes) {
    throw Error{ErrorCode::bad_input, image->name() + ": " + std::to_string(info.size_bytes) +
                                          " bytes are more than the limit of " +
                                          std::to_string(limit_bytes)};
  }
  // Grown piece by piece, as a size in a hostile file may promise anything.
  Bytes data;
  for (std::uint64_t n = 0; n < info.data.count; ++n) {
    const Bytes piece = read_chunk(info.data.first + n, ChunkType::image_data);
    data.insert(data.end(), piece.begin(), piece.end());
  }
  if (hash128(data) != info.hash) fail(info.sequence, "image " + info.role + ": wrong hash");
  return data;
}

}  // namespace chronovisor
