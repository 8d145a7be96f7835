#include "recorder/format/recording_writer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace chronovisor {

namespace {

/// Raw bytes of one chunk of a stream: large enough to compress well, small
/// enough to be read for a part of it.
constexpr std::size_t kStreamPiece = 1u << 20;
constexpr std::size_t kConsolePiece = 1u << 16;
/// A page map names the contents themselves where the parent is so many checkpoints before,
/// since they would be in the directories of as many. Of a chain of parents (checkpoint_chain.h)
/// that is a page map in 256.
constexpr std::uint32_t kFarParent = 256;
/// So much input at once is mostly frames, which the machine waits for while they are packed.
constexpr std::size_t kBulkBytes = 1u << 16;
/// The most bytes of pages that wait for the compressor.
constexpr std::size_t kMostInFlight = 32u << 20;

Hash128 hash_of(const InputFile& content) {
  Hasher hasher;
  Bytes buffer(kStreamPiece);
  for (std::uint64_t offset = 0; offset < content.size();) {
    const std::size_t count = content.read(offset, buffer);
    if (count == 0) break;
    hasher.add(ByteView(buffer).first(count));
    offset += count;
  }
  return hasher.finish();
}

}  // namespace

RecordingWriter::RecordingWriter(std::unique_ptr<OutputFile> file, const FileId& id,
                                 std::string_view metadata_json, const WriterOptions& options)
    : file_(std::move(file)),
      id_(id),
      options_(options),
      index_(RecordingIndex::of_new_recording()),
      packer_(options.page_level,
              std::clamp(options.pages_per_batch, 1U, kMaxPagesPerBatch) * kPageSize),
      arrived_(options.start) {
  if (options.index_blocks) index_.shape_blocks(*options.index_blocks);
  inputs_.begin(options.start);
  frames_.begin(options.start);
  guarded([&] {
    append_raw(encode_file_header({kFormatVersion, id_}));
    index_.metadata = append_chunk(ChunkType::metadata, as_bytes(metadata_json), options_.level);
    if (options_.part) {
      append_chunk(ChunkType::part, encode_part_note(*options_.part), options_.level);
    }
    if (options_.sync != SyncPolicy::none) sync_now();
  });
}

RecordingWriter::RecordingWriter(std::unique_ptr<OutputFile> file, const FileId& id,
                                 RecordingIndex index)
    : file_(std::move(file)),
      id_(id),
      index_(std::move(index)),
      packer_(options_.page_level, kPagesPerBatch * kPageSize),
      offset_(file_->size()),
      marked_(offset_) {
  if (!index_.inputs.empty()) {
    options_.start = index_.start();
    arrived_ = index_.inputs.back().complete_to;
  }
  inputs_.begin(arrived_);
}

/// Runs what may fail in the host; a failure kills the writer.
template <class Action>
void RecordingWriter::guarded(Action&& action) {
  require_alive();
  try {
    action();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::host) throw;
    dead_ = error.what();
    try {
      file_->truncate(offset_);
    } catch (const Error&) {
      // The torn tail stays; readers cut it.
    }
    throw;
  }
}

void RecordingWriter::require_alive() const {
  CHECK_THAT(!finished_, "the recording has been finished");
  if (!dead_.empty()) {
    throw Error{ErrorCode::host,
                dead_ + " (the recording ended there, at " + std::to_string(offset_) + " bytes)"};
  }
}

void RecordingWriter::append_raw(ByteView data) {
  file_->append(data);
  offset_ += data.size();
  unsynced_ = true;
}

std::uint64_t RecordingWriter::note_chunk(ChunkType type, const ChunkHeader& header,
                                          ByteView chunk) {
  ChunkEntry entry;
  entry.offset = offset_;
  entry.type = static_cast<std::uint32_t>(type);
  entry.stored_length = header.stored_length;
  entry.raw_length = header.raw_length;
  append_raw(chunk);
  index_.add_chunk(entry);
  return index_.chunks.size() - 1;
}

std::uint64_t RecordingWriter::append_chunk(ChunkType type, ByteView payload, int level) {
  encoder_.pack(payload, level, packed_);
  seal_chunk(packed_, type, index_.chunks.size(), id_);
  return note_chunk(type, packed_.header, packed_.bytes);
}

std::uint64_t RecordingWriter::append_packed(ChunkType type, PackedChunk chunk) {
  seal_chunk(chunk, type, index_.chunks.size(), id_);
  return note_chunk(type, chunk.header, chunk.bytes);
}

StreamRef RecordingWriter::append_stream(ChunkType type, ByteView data) {
  if (data.size() > kMaxStreamBytes) {
    throw Error{ErrorCode::host,
                file_->name() + ": " + chunk_type_name(static_cast<std::uint32_t>(type)) + " of " +
                    std::to_string(data.size()) + " bytes; the format holds at most " +
                    std::to_string(kMaxStreamBytes)};
  }
  StreamRef stream{index_.chunks.size(), 0};
  while (!data.empty()) {
    const std::size_t count = std::min(kStreamPiece, data.size());
    append_chunk(type, data.first(count), options_.level);
    data = data.subspan(count);
    ++stream.count;
  }
  return stream;
}

void RecordingWriter::append_image(ImageInfo image) {
  image.sequence = append_chunk(ChunkType::image, encode_image(image), options_.level);
  index_.images.push_back(std::move(image));
}

void RecordingWriter::embed_image(const std::string& role, const std::string& path,
                                  const InputFile& content) {
  guarded([&] {
    ImageInfo image{role, path, content.size(), hash_of(content), ImageStorage::embedded, {}, 0};
    const auto same =
        std::find_if(index_.images.begin(), index_.images.end(), [&](const ImageInfo& other) {
          return other.storage == ImageStorage::embedded && other.hash == image.hash &&
                 other.size_bytes == image.size_bytes;
        });
    if (same != index_.images.end()) {
      image.data = same->data;
      append_image(std::move(image));
      return;
    }
    image.data.first = index_.chunks.size();
    const bool pages_may_be_like_it =
        image.size_bytes <= LikePages::kMostImageBytes - likely_bytes_;
    Bytes whole;
    Hasher hasher;
    Bytes buffer(kStreamPiece);
    for (std::uint64_t offset = 0; offset < image.size_bytes; offset += kStreamPiece) {
      const auto wanted = static_cast<std::size_t>(
          std::min<std::uint64_t>(kStreamPiece, image.size_bytes - offset));
      const std::size_t count = content.read(offset, std::span(buffer).first(wanted));
      const ByteView piece = ByteView(buffer).first(count);
      hasher.add(piece);
      if (pages_may_be_like_it) whole.insert(whole.end(), piece.begin(), piece.end());
      if (count == wanted) append_chunk(ChunkType::image_data, piece, options_.level);
    }
    if (hasher.finish() != image.hash) {
      throw Error{ErrorCode::bad_input, path + ": the file changed while it was being recorded"};
    }
    image.data.count = index_.chunks.size() - image.data.first;
    if (pages_may_be_like_it) {
      likely_bytes_ += image.size_bytes;
      packer_.add_image(index_.images.size(), std::move(whole));
    }
    append_image(std::move(image));
  });
}

void RecordingWriter::reference_image(const std::string& role, const std::string& path,
                                      const InputFile& content) {
  guarded([&] {
    append_image({role, path, content.size(), hash_of(content), ImageStorage::referenced, {}, 0});
  });
}

void RecordingWriter::reference_image(const ImageInfo& image) {
  CHECK_THAT(image.storage == ImageStorage::referenced, "a referenced image");
  guarded([&] { append_image(image); });
}

std::size_t RecordingWriter::held_bytes() const {
  return inputs_.size_bytes() + counted_.size_bytes() + digests_.size_bytes() +
         console_.size_bytes() +
         frames_.size_bytes();  // blocks are written on their own when there are many
}

/// Call after adding to what is held back.
void RecordingWriter::held() {
  if (!held_since_ns_) held_since_ns_ = now_ns_;
}

void RecordingWriter::input(const InputEvent& event) {
  CHECK_THAT(event.position >= arrived_, "an input before a position declared complete");
  guarded([&] {
    // Room for the payload and the largest frame around it.
    const bool is_full = held_bytes() + event.payload.size() + 32 > options_.hold_bytes;
    if (is_full || inputs_.count() == kMaxInputsPerChunk) flush_held();
    arrived_ = event.position;
    inputs_.add(event);
    ++held_tallies_.inputs[static_cast<std::uint8_t>(event.kind)];
    ++input_count_;
    if (event.kind == InputKind::network_frame) {
      ++frames_received_;
      has_frames_ = true;
    }
    held();
  });
}

void RecordingWriter::counted(const CountedEvent& event, const CounterTrust& trust) {
  guarded([&] {
    const bool is_full = held_bytes() + event.payload.size() + 96 > options_.hold_bytes;
    if (is_full || counted_.count() == kMaxInputsPerChunk) flush_held();
    counted_.add(event, trust);
    held();
  });
}

void RecordingWriter::block(std::uint32_t medium, std::uint64_t block,
                            std::optional<ByteView> content) {
  guarded([&] {
    const BlockLog::Added added = blocks_.add(medium, block, content);
    if (added == BlockLog::Added::contradicts) {
      throw Error(ErrorCode::host,
                  "block " + grouped(block) + " of disk" + std::to_string(medium) +
                      (content ? " is not what it was when the guest first read it: its image "
                                 "was changed during the run"
                               : " can no longer be read, which the guest has read before"));
    }
    if (added == BlockLog::Added::known) return;
    if (blocks_.is_full()) flush_blocks();
    held();
  });
}

void RecordingWriter::flush_blocks() {
  if (blocks_.empty()) return;
  std::uint64_t sequence = 0;
  if (!blocks_.data().empty()) {
    sequence = append_chunk(ChunkType::block_data, blocks_.data(), options_.page_level);
  }
  append_chunk(ChunkType::block_directory, blocks_.take_directory(sequence), options_.level);
}

void RecordingWriter::advance_to(Position position) {
  require_alive();
  if (position <= arrived_) return;
  arrived_ = position;
  held();
}

void RecordingWriter::digest(const DigestRecord& record) {
  guarded([&] {
    if (held_bytes() + 32 > options_.hold_bytes) flush_held();
    digests_.add(record);
    ++held_tallies_.digests;
    held();
  });
}

void RecordingWriter::console(const ConsoleView& record) {
  guarded([&] {
    ConsoleView piece = record;
    for (ByteView left = record.bytes; !left.empty(); left = left.subspan(piece.bytes.size())) {
      piece.bytes = left.first(std::min(kConsolePiece, left.size()));
      if (held_bytes() + piece.bytes.size() + 32 > options_.hold_bytes) flush_held();
      console_.add(piece);
      held();
    }
  });
}

void RecordingWriter::sent_frame(Position position, std::uint64_t idle_ns, std::uint16_t card,
                                 ByteView frame) {
  sent_frame({.position = position,
              .idle_ns = idle_ns,
              .card = card,
              .received = frames_received_,
              .length_bytes = static_cast<std::uint32_t>(frame.size()),
              .digest = frame_digest(frame)});
}

void RecordingWriter::sent_frame(const SentFrame& frame) {
  guarded([&] {
    const bool is_full = held_bytes() + kMostFrameRecordBytes > options_.hold_bytes;
    if (is_full || frames_.count() == kMostFramesPerChunk) flush_held();
    arrived_ = std::max(arrived_, frame.position);
    frames_.add(frame);
    has_frames_ = true;
    held();
  });
}

/// As far as the log of inputs reaches, so that a frame too many is noticed.
void RecordingWriter::flush_frames() {
  append_chunk(ChunkType::sent_frames, frames_.take(arrived_), options_.level);
}

void RecordingWriter::flush_inputs() {
  const Position covered =
      index_.inputs.empty() ? options_.start : index_.inputs.back().complete_to;
  if (inputs_.count() == 0 && arrived_ == covered) return;
  InputRange range{inputs_.from(), arrived_, inputs_.count(), 0};
  const Bytes log = inputs_.finish(arrived_);
  const int level = log.size() < kBulkBytes ? options_.level : options_.page_level;
  range.sequence = append_chunk(ChunkType::input_log, log, level);
  index_.add_inputs(range);
  if (index_.tallies) {
    for (const auto& [kind, count] : held_tallies_.inputs) index_.tallies->inputs[kind] += count;
  }
  held_tallies_.inputs.clear();
  inputs_.begin(arrived_);
}

void RecordingWriter::flush_held() {
  // What the guest read is there before the log that leads past it, and the log before
  // the rest, which is of use only as far as it reaches.
  flush_blocks();
  flush_inputs();
  if (counted_.count() != 0) append_chunk(ChunkType::counted_log, counted_.take(), options_.level);
  if (digests_.size_bytes() != 0) {
    append_chunk(ChunkType::digests, digests_.take(), options_.level);
    if (index_.tallies) index_.tallies->digests += held_tallies_.digests;
    held_tallies_.digests = 0;
  }
  if (console_.size_bytes() != 0) {
    append_chunk(ChunkType::console, console_.take(), options_.level);
  }
  if (frames_.count() != 0) flush_frames();
  held_since_ns_.reset();
}

void RecordingWriter::sync_now() {
  if (unsynced_) file_->sync();
  unsynced_ = false;
  last_sync_ns_ = now_ns_;
}

bool RecordingWriter::has_page(const Hash128& content) const {
  return content == zero_page_hash() || pages_.find(content).has_value();
}

void RecordingWriter::submit(NewPages pages) {
  static_assert(kMostInFlight > (kMaxPagesPerBatch + NewPages::kMost) * kPageSize,
                "what is waited for fills a batch");
  while (packer_.bytes_in_flight() > kMostInFlight) write_batch(packer_.take());
  packer_.submit(std::move(pages));
}

/// Gives the contents that are new to the compressor, some at a time.
void RecordingWriter::submit_new_pages(const CheckpointRecord& record,
                                       const PageProvider& provide) {
  NewPages fresh;
  for (const PageRecord& page : record.pages) {
    if (has_page(page.content)) continue;
    if (fresh.pages.size() == NewPages::kMost) submit(std::exchange(fresh, {}));
    if (fresh.pages.empty()) fresh.bytes = packer_.buffer();
    const auto ordinal = static_cast<std::uint32_t>(pages_.size());
    std::optional<PageRecipe> recipe;
    if (const auto place = blocks_.place_of(page.content)) {
      recipe = {PageLikeness::block, false, place->sequence, place->index};
    }
    const std::span<std::uint8_t> bytes(fresh.bytes);
    provide(page, bytes.subspan(fresh.pages.size() * kPageSize).first<kPageSize>());
    fresh.pages.push_back({page.page, page.content, ordinal, recipe});
    pages_.add(page.content);
  }
  pending_->all_written = fresh.pages.empty();
  if (fresh.pages.empty()) return;
  fresh.last = true;
  submit(std::move(fresh));
}

void RecordingWriter::write_batch(PackedPages batch) {
  if (!batch.pages.pages.empty()) {
    batch.pages.sequence = append_packed(batch.type, std::move(batch.chunk));
    pending_->batches.push_back(std::move(batch.pages));
  }
  pending_->all_written = batch.last;
}

/// Writes what the compressor has done, without waiting for more.
void RecordingWriter::write_ready_batches() {
  if (!pending_) return;
  while (auto batch = packer_.take_ready()) write_batch(std::move(*batch));
  if (pending_->all_written) write_pending_tail();
}

/// Waits for the compressor and writes the whole checkpoint.
void RecordingWriter::write_pending() {
  if (!pending_) return;
  while (!pending_->all_written) write_batch(packer_.take());
  write_pending_tail();
}

void RecordingWriter::write_pending_tail() {
  ByteWriter directory;
  std::size_t total = 0;
  for (const PageBatch& batch : pending_->batches) {
    encode_page_batch(batch, directory);
    total += batch.pages.size();
  }
  CheckpointInfo& info = pending_->info;
  info.pages_before = pages_written_;
  pages_written_ += static_cast<std::uint32_t>(total);
  info.sections = append_stream(ChunkType::sections, pending_->sections);
  info.directory = append_stream(ChunkType::page_directory, directory.data());
  info.map = append_stream(ChunkType::page_map, pending_->map);
  // The checkpoint exists from here on: this chunk comes after all it needs.
  info.sequence = append_chunk(ChunkType::checkpoint, encode_checkpoint(info), options_.level);
  index_.checkpoints.push_back(info);
  pending_.reset();
}

void RecordingWriter::checkpoint(const CheckpointRecord& record, const PageProvider& provide) {
  guarded([&] {
    CHECK_THAT(!record.parent || *record.parent < checkpoint_count(),
               "a checkpoint's parent is in the file");
    CHECK_THAT(record.position >= arrived_, "a checkpoint is taken where the run has arrived");
    write_pending();
    arrived_ = record.position;
    flush_held();
    write_index();
    CheckpointInfo& info = pending_.emplace(Pending{}).info;
    info.position = record.position;
    info.idle_ns = record.idle_ns;
    info.digest = record.digest;
    info.parent = record.parent;
    info.pages = record.pages.size();
    pages_.forget();
    submit_new_pages(record, provide);
    PageMapRecord map;
    map.has_contents = record.parent && *record.parent + kFarParent <= checkpoint_count();
    map.entries.reserve(record.pages.size());
    for (const PageRecord& page : record.pages) {
      const bool is_zero = page.content == zero_page_hash();
      if (!is_zero) pages_.use(page.content);
      map.entries.push_back(
          {page.page, is_zero ? 0 : std::uint64_t{*pages_.find(page.content)} + 1, page.content});
    }
    pending_->sections = encode_sections(record.sections);
    pending_->map = encode_page_map(map);
  });
}

/// Puts what fills an index block into the file, and a mark when the last one is far. Not
/// within a stream, whose chunks lie one after the other.
void RecordingWriter::write_index() {
  index_.write_full_blocks([&](ByteView payload) {
    BlockRef ref{index_.chunks.size(), offset_, 0, 0};
    append_chunk(ChunkType::index_block, payload, options_.level);
    ref.stored_length = index_.chunks.back().stored_length;
    ref.raw_length = index_.chunks.back().raw_length;
    return ref;
  });
  if (offset_ - marked_ < options_.mark_every_bytes) return;
  append_chunk(ChunkType::index_mark, index_.encode_root(), options_.level);
  marked_ = offset_;
}

/// So that a reader finds the directory of a page without reading those before it, where
/// the footer does not say.
void RecordingWriter::write_page_totals() {
  if (pages_written_ == 0) return;
  std::vector<std::uint32_t> totals;
  for (std::size_t n = 0; n < index_.checkpoints.size(); ++n) {
    const bool is_last = n + 1 == index_.checkpoints.size();
    const std::uint32_t after = is_last ? pages_written_ : *index_.checkpoints[n + 1].pages_before;
    totals.push_back(after - *index_.checkpoints[n].pages_before);
  }
  append_chunk(ChunkType::page_totals, encode_page_totals(totals), options_.level);
}

/// A list of everything where that is short, else what leads to it.
void RecordingWriter::write_footer() {
  write_index();
  // A part's root says where its pages are among all those of the recording.
  const bool has_blocks =
      index_.needs_blocks() || index_.totals.contains(static_cast<std::uint32_t>(ChunkType::part));
  if (!has_blocks) write_page_totals();
  const Trailer trailer{offset_, index_.chunks.size()};
  if (has_blocks) {
    append_chunk(ChunkType::index_root, index_.encode_root(), options_.level);
  } else {
    append_stream(ChunkType::footer, index_.encode());
  }
  append_raw(encode_trailer(trailer, id_));
}

void RecordingWriter::interval_index(Position from, Position to, ByteView data) {
  guarded([&] {
    flush_held();
    IntervalInfo interval{from, to, 0};
    ByteWriter payload;
    encode_interval_head(interval, payload);
    payload.bytes(data);
    interval.sequence = append_chunk(ChunkType::interval_index, payload.data(), options_.level);
    index_.add_interval(interval);
    write_filters(from, to, data);
    write_index();
  });
}

/// A filter for each group of intervals that is full with this one.
void RecordingWriter::write_filters(Position from, Position to, ByteView data) {
  for (const IntervalGroups::Full& group : groups_.add(from, to, data)) {
    IntervalInfo range{group.from, group.to, 0};
    ByteWriter payload;
    payload.integer(static_cast<std::uint8_t>(group.level));
    encode_interval_head(range, payload);
    payload.bytes(group.filter);
    range.sequence = append_chunk(ChunkType::interval_filter, payload.data(), options_.level);
    index_.add_filter(group.level, range);
  }
}

void RecordingWriter::bookmark(const Bookmark& bookmark) {
  CHECK_THAT(bookmark.name.size() <= kMaxTextBytes, "a bookmark's name above the limit");
  guarded([&] {
    flush_held();
    append_chunk(ChunkType::bookmark, encode_bookmark(bookmark), options_.level);
    write_index();
  });
}

void RecordingWriter::remove_bookmark(const std::string& name) {
  CHECK_THAT(name.size() <= kMaxTextBytes, "a bookmark's name above the limit");
  guarded([&] {
    flush_held();
    append_chunk(ChunkType::bookmark_removed, encode_bookmark_removed(name), options_.level);
  });
}

void RecordingWriter::tick(std::uint64_t now_ns) {
  guarded([&] {
    now_ns_ = std::max(now_ns_, now_ns);
    write_ready_batches();
    if (held_since_ns_ && now_ns_ - *held_since_ns_ >= options_.hold_ns) flush_held();
    if (options_.sync == SyncPolicy::interval &&
        now_ns_ - last_sync_ns_ >= options_.sync_interval_ns) {
      sync_now();
    }
    write_index();
  });
}

void RecordingWriter::before_output() {
  if (options_.sync != SyncPolicy::output) return;
  guarded([&] {
    flush_held();
    sync_now();
  });
}

void RecordingWriter::flush() {
  guarded([&] {
    flush_held();
    write_pending();
    write_index();
  });
}

void RecordingWriter::flush_and_sync() {
  guarded([&] {
    flush_held();
    write_pending();
    sync_now();
  });
}

void RecordingWriter::note_next_part() {
  CHECK_THAT(options_.part.has_value(), "a part of a recording");
  guarded([&] {
    flush_held();
    write_pending();
    PartNote note = *options_.part;
    note.what = PartNote::What::follows;
    ++note.number;
    append_chunk(ChunkType::part, encode_part_note(note), options_.level);
  });
}

void RecordingWriter::finish(std::optional<std::string_view> summary_json) {
  guarded([&] {
    flush_held();
    // In the next part some may come, and of this one it is known then that it had none.
    if (has_frames_ || options_.part) flush_frames();
    write_pending();
    if (summary_json) {
      index_.summary = append_chunk(ChunkType::summary, as_bytes(*summary_json), options_.level);
    }
    write_footer();
    if (options_.sync != SyncPolicy::none) sync_now();
  });
  finished_ = true;
}

}  // namespace chronovisor
