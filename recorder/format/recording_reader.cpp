#include "recorder/format/recording_reader.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "recorder/format/block_cache.h"
#include "recorder/format/page_cache.h"

namespace chronovisor {

ReaderOptions ReaderOptions::within(std::uint64_t bytes) {
  constexpr std::uint64_t kLeastBytes = std::uint64_t{1} << 20;
  constexpr std::uint64_t kMostBatchBytes = std::uint64_t{128} << 20;
  const ReaderOptions usual;
  ReaderOptions options;
  const auto share = [&](std::uint64_t of, std::uint64_t most) {
    return static_cast<std::size_t>(std::clamp(bytes / of, kLeastBytes, most));
  };
  // A machine that is put somewhere wants a page here and there of many batches.
  options.batch_bytes = share(10, kMostBatchBytes);
  options.directory_bytes = share(40, usual.directory_bytes);
  options.index_bytes = share(80, usual.index_bytes);
  return options;
}

RecordingReader::RecordingReader(const PartProvider& parts, ReaderOptions options)
    : cache_(std::make_unique<PageCache>()), blocks_(std::make_unique<BlockCache>()) {
  cache_->limit_bytes = options.batch_bytes;
  cache_->directory_limit_bytes = options.directory_bytes;
  open(parts, options);
}

RecordingReader::~RecordingReader() = default;

std::string RecordingReader::place(std::uint64_t sequence) const {
  const File& file = file_of(sequence);
  return file.file.place(sequence - file.base.chunks);
}

void RecordingReader::fail(std::uint64_t sequence, const std::string& reason) const {
  const File& file = file_of(sequence);
  file.file.fail(sequence - file.base.chunks, reason);
}

Bytes RecordingReader::read_chunk(std::uint64_t sequence, ChunkType type) const {
  const File& file = file_of(sequence);
  return file.file.read_chunk(sequence - file.base.chunks, type);
}

Bytes RecordingReader::read_stream(const StreamRef& stream, ChunkType type,
                                   const char* what) const {
  const File& file = file_of(stream.first);
  return file.file.read_stream({stream.first - file.base.chunks, stream.count}, type, what);
}

std::optional<std::string> RecordingReader::summary_json() const {
  if (!index().summary) return {};
  const Bytes text = read_chunk(*index().summary, ChunkType::summary);
  return std::string(text.begin(), text.end());
}

std::size_t RecordingReader::cache_bytes() const {
  std::size_t bytes = 0;
  {
    const std::lock_guard lock(cache_->mutex);
    bytes += cache_->bytes();
  }
  {
    const std::lock_guard lock(blocks_->mutex);
    bytes += blocks_->bytes();
  }
  for (const auto& file : files_) bytes += file->file.blocks().bytes();
  return bytes;
}

std::vector<Damage> RecordingReader::verify_bytes() const {
  std::vector<Damage> damage;
  for (const auto& file : files_) {
    const std::vector<Damage> some = file->file.scan();
    damage.insert(damage.end(), some.begin(), some.end());
  }
  if (!damage.empty()) {
    std::copy_if(damage_.begin(), damage_.end(), std::back_inserter(damage),
                 [](const Damage& one) { return one.kind == DamageKind::missing_part; });
  }
  // A footer that is whole but wrong shows only where it is used.
  if (damage.empty()) damage = damage_;
  return damage;
}

InputChunk RecordingReader::read_inputs(std::size_t range) const {
  CHECK_THAT(range < index().inputs.size(), "an input range of this recording");
  const InputRange expected = index().inputs[range];
  InputChunk chunk = decode_input_chunk(read_chunk(expected.sequence, ChunkType::input_log),
                                        place(expected.sequence));
  if (chunk.from != expected.from || chunk.complete_to != expected.complete_to ||
      chunk.events.size() != expected.events) {
    fail(expected.sequence, "its inputs and the index contradict each other");
  }
  return chunk;
}

CountedChunk RecordingReader::read_counted(std::size_t i) const {
  CHECK_THAT(i < index().counted.size(), "a counted chunk of this recording");
  const std::uint64_t sequence = index().counted[i].sequence;
  return decode_counted_chunk(read_chunk(sequence, ChunkType::counted_log), place(sequence));
}

FrameChunk RecordingReader::read_frames(std::size_t i) const {
  CHECK_THAT(i < index().frames.size(), "a chunk of sent frames of this recording");
  const std::uint64_t sequence = index().frames[i].sequence;
  FrameChunk chunk =
      decode_frame_chunk(read_chunk(sequence, ChunkType::sent_frames), place(sequence));
  const File& file = file_of(sequence);
  chunk.sent += file.frames_sent;
  for (SentFrame& frame : chunk.frames) frame.received += file.frames_received;
  return chunk;
}

CheckpointInfo RecordingReader::checked_checkpoint(std::size_t i) const {
  CHECK_THAT(i < index().checkpoints.size(), "a checkpoint of this recording");
  const CheckpointInfo info = index().checkpoints[i];
  // The footer has a copy of it; the original must say the same.
  const File& file = file_of(info.sequence);
  const Bytes payload = read_chunk(info.sequence, ChunkType::checkpoint);
  if (payload != encode_checkpoint(file.file.index().checkpoints[i - file.base.checkpoints])) {
    fail(info.sequence, "the checkpoint and the index contradict each other");
  }
  return info;
}

std::optional<std::size_t> RecordingReader::checkpoint_before(Position position) const {
  const auto after = std::partition_point(
      index().checkpoints.begin(), index().checkpoints.end(),
      [&](const CheckpointInfo& checkpoint) { return checkpoint.position <= position; });
  if (after == index().checkpoints.begin()) return {};
  return static_cast<std::size_t>(after - index().checkpoints.begin()) - 1;
}

std::vector<Section> RecordingReader::load_sections(std::size_t checkpoint) const {
  const CheckpointInfo info = checked_checkpoint(checkpoint);
  return decode_sections(read_stream(info.sections, ChunkType::sections, "sections"),
                         place(info.sequence) + ": sections");
}

bool RecordingReader::is_usable(std::uint64_t sequence) const {
  return index().chunks[static_cast<std::size_t>(sequence)].usable;
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
  CHECK_THAT(i < index().digests.size(), "a chunk of digests of this recording");
  const std::uint64_t sequence = index().digests[i].sequence;
  if (!is_usable(sequence)) return {};
  return decode_digests(read_chunk(sequence, ChunkType::digests), place(sequence));
}

std::uint64_t RecordingReader::digest_count() const {
  return index().tallies ? index().tallies->digests : digests().size();
}

std::map<InputKind, std::uint64_t> RecordingReader::input_counts() const {
  std::map<InputKind, std::uint64_t> counts;
  if (index().tallies) {
    for (const auto& [kind, count] : index().tallies->inputs) {
      if (is_input_kind(kind)) counts[static_cast<InputKind>(kind)] = count;
    }
    return counts;
  }
  for (std::size_t range = 0; range < index().inputs.size(); ++range) {
    for (const InputEvent& event : read_inputs(range).events) ++counts[event.kind];
  }
  return counts;
}

Bytes RecordingReader::load_interval(std::size_t i) const {
  CHECK_THAT(i < index().intervals.size(), "an interval of this recording");
  const IntervalInfo info = index().intervals[i];
  const Bytes payload = read_chunk(info.sequence, ChunkType::interval_index);
  ByteReader in(payload, place(info.sequence));
  const IntervalInfo head = decode_interval_head(in);
  if (head.from != info.from || head.to != info.to) {
    fail(info.sequence, "the interval and the index contradict each other");
  }
  return {payload.begin() + static_cast<std::ptrdiff_t>(in.offset()), payload.end()};
}

namespace {

/// Calls `visit` with the filters of a level.
template <class Visit>
auto with_filters(const RecordingIndex& index, unsigned level, const Visit& visit) {
  static_assert(kFilterLevels == 3);
  CHECK_THAT(level < kFilterLevels, "a level of filters");
  if (level == 0) return visit(index.filters);
  return level == 1 ? visit(index.group_filters) : visit(index.large_filters);
}

}  // namespace

std::optional<IntervalInfo> RecordingReader::group_from(unsigned level, Position position) const {
  return with_filters(index(), level, [&](const auto& table) -> std::optional<IntervalInfo> {
    const auto at = std::partition_point(table.begin(), table.end(),
                                         [&](const auto& group) { return group.from < position; });
    if (at == table.end() || at->from != position) return std::nullopt;
    return IntervalInfo{at->from, at->to, at->sequence};
  });
}

std::optional<IntervalInfo> RecordingReader::group_up_to(unsigned level, Position position) const {
  return with_filters(index(), level, [&](const auto& table) -> std::optional<IntervalInfo> {
    const auto at = std::partition_point(table.begin(), table.end(),
                                         [&](const auto& group) { return group.to < position; });
    if (at == table.end() || at->to != position) return std::nullopt;
    return IntervalInfo{at->from, at->to, at->sequence};
  });
}

AccessFilter RecordingReader::load_filter(unsigned level, const IntervalInfo& group) const {
  const Bytes payload = read_chunk(group.sequence, ChunkType::interval_filter);
  ByteReader in(payload, place(group.sequence));
  const auto found = in.integer<std::uint8_t>();
  const IntervalInfo head = decode_interval_head(in);
  if (found != level || head.from != group.from || head.to != group.to) {
    fail(group.sequence, "the filter and the index contradict each other");
  }
  return AccessFilter::decode(ByteView(payload).subspan(in.offset()), place(group.sequence));
}

void RecordingReader::for_each_console(const std::function<void(const ConsoleView&)>& visit) const {
  for (std::size_t i = 0; i < console_chunks(); ++i) show_console(i, visit);
}

void RecordingReader::show_console(std::size_t i,
                                   const std::function<void(const ConsoleView&)>& visit) const {
  CHECK_THAT(i < index().consoles.size(), "a chunk of console output of this recording");
  const std::uint64_t sequence = index().consoles[i].sequence;
  if (!is_usable(sequence)) return;
  decode_console(read_chunk(sequence, ChunkType::console), place(sequence), visit);
}

std::vector<Bookmark> RecordingReader::bookmarks() const {
  std::vector<std::pair<std::uint64_t, Bookmark>> all;
  std::map<std::string, std::uint64_t> removed;  // a name, and the last chunk that removes it
  for (const auto& [i] : index().bookmarks) {
    const ChunkEntry entry = index().chunks[static_cast<std::size_t>(i)];
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
  for (const auto& [type, total] : index().totals) {
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
    const auto& chunks = reader.index().chunks;
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
  CHECK_THAT(i < index().images.size(), "an image of this recording");
  const ImageInfo& image = index().images[i];
  if (image.storage != ImageStorage::embedded) {
    throw Error{ErrorCode::bad_input, name() + ": image " + image.role +
                                          " is not embedded; it is read from " + image.path +
                                          ", whose hash must be " + image.hash.hex()};
  }
  return std::make_unique<EmbeddedImage>(*this, image);
}

Bytes RecordingReader::read_image(std::size_t i, std::uint64_t limit_bytes) const {
  const std::unique_ptr<InputFile> image = open_image(i);
  const ImageInfo& info = index().images[i];
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
