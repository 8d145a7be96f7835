// Owns an opened recording, in one file or several parts: hands out its records on
// demand. Must not know what replays them. After construction every member is
// const and safe from any thread at once.
//
// Opening reads the file header, footer and metadata only, whatever the size
// of the file; what grows with it is in blocks of an index that are read when
// they are looked at. Every chunk read later is checked first, so damage found late
// throws Error{bad_input} that names the chunk and says how far the recording
// is usable; verify_bytes finds all of it at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "recorder/format/access_filter.h"
#include "recorder/format/block_log.h"
#include "recorder/format/chunk.h"
#include "recorder/format/counted_log.h"
#include "recorder/format/file.h"
#include "recorder/format/frame_log.h"
#include "recorder/format/input_log.h"
#include "recorder/format/page_recipe.h"
#include "recorder/format/recording_file.h"
#include "recorder/format/recording_index.h"
#include "recorder/format/records.h"
#include "recorder/format/scan.h"

namespace chronovisor {

/// How much of what was read is kept.
struct ReaderOptions {
  /// Page batches kept decompressed, and page directories.
  std::size_t batch_bytes = std::size_t{16} << 20;
  std::size_t directory_bytes = std::size_t{16} << 20;
  /// Blocks of the index kept decoded.
  std::size_t index_bytes = IndexBlocks::kUsualBytes;
  /// Does without the index in the file, as where a part of it is damaged: everything is read.
  bool rescan = false;
  /// Of a recording in parts the file alone, without those that follow it.
  bool alone = false;

  /// What keeps to a seventh of `bytes`, or some MiB where that is less.
  [[nodiscard]] static ReaderOptions within(std::uint64_t bytes);
};

/// What the chunks of one type take.
struct TypeSize : TypeTotal {
  std::string type;
};

class RecordingReader {
 public:
  /// Throws Error{bad_input} when the file cannot be used at all.
  explicit RecordingReader(std::shared_ptr<const InputFile> file, ReaderOptions options = {});
  /// Opens the file at `path` and, where it is a part, the parts that follow it.
  explicit RecordingReader(const std::string& path, ReaderOptions options = {});
  /// The first file (0), and then the one of part `number` of the recording; null: there is
  /// none.
  using PartProvider = std::function<std::shared_ptr<const InputFile>(std::uint64_t number)>;
  explicit RecordingReader(const PartProvider& parts, ReaderOptions options = {});
  ~RecordingReader();
  RecordingReader(const RecordingReader&) = delete;
  RecordingReader& operator=(const RecordingReader&) = delete;

  // Of the first file: its name, the version of its format, its id.
  [[nodiscard]] const std::string& name() const { return files_.front()->file.name(); }
  [[nodiscard]] std::uint32_t format_version() const {
    return files_.front()->file.header().version;
  }
  [[nodiscard]] const FileId& id() const { return files_.front()->file.header().id; }
  /// Of all files.
  [[nodiscard]] std::uint64_t file_bytes() const;
  /// A file that the recording is in.
  struct Part {
    std::string file;
    std::uint64_t number = 1;  ///< of the recording's parts
    Position from;
    Position to;
    std::uint64_t bytes = 0;
  };
  /// All of them, one where it is no recording of parts.
  [[nodiscard]] std::vector<Part> parts() const;
  /// What the first file says of itself as a part; nothing: the recording is not in parts.
  [[nodiscard]] const std::optional<PartNote>& part() const { return note_; }
  [[nodiscard]] const std::string& metadata_json() const { return metadata_json_; }
  /// The end-of-run summary; nothing when the recorder did not finish.
  [[nodiscard]] std::optional<std::string> summary_json() const;
  /// What is wrong with the file as far as opening it showed; empty when the
  /// footer was sound.
  [[nodiscard]] const std::vector<Damage>& damage() const { return damage_; }
  /// Reads and checks every byte of the file. Empty when all is well.
  [[nodiscard]] std::vector<Damage> verify_bytes() const;

  /// Where the recording starts, and up to where its inputs are complete.
  [[nodiscard]] Position start() const { return index().start(); }
  [[nodiscard]] Position usable_to() const { return index().complete_before(kNever); }

  [[nodiscard]] const std::vector<ImageInfo>& images() const { return index().images; }
  /// The embedded image `i` as a file; the reader must outlive it. Throws
  /// Error{bad_input} for a referenced image.
  [[nodiscard]] std::unique_ptr<InputFile> open_image(std::size_t i) const;
  /// All of embedded image `i`, checked against its hash. Throws also when it
  /// is larger than `limit_bytes`.
  [[nodiscard]] Bytes read_image(std::size_t i, std::uint64_t limit_bytes) const;

  [[nodiscard]] const IndexTable<InputRange>& input_ranges() const { return index().inputs; }
  /// The events of one range.
  [[nodiscard]] InputChunk read_inputs(std::size_t range) const;

  /// How many chunks of events with counted places there are: with any, positions
  /// are not known, and the other records of the run are missing.
  [[nodiscard]] std::size_t counted_chunks() const { return index().counted.size(); }
  [[nodiscard]] CountedChunk read_counted(std::size_t i) const;

  /// How many chunks of the log of sent frames there are.
  [[nodiscard]] std::size_t frame_chunks() const { return index().frames.size(); }
  [[nodiscard]] FrameChunk read_frames(std::size_t i) const;

  [[nodiscard]] const IndexTable<CheckpointInfo>& checkpoints() const {
    return index().checkpoints;
  }
  /// The last checkpoint at or before `position`, if there is one.
  [[nodiscard]] std::optional<std::size_t> checkpoint_before(Position position) const;
  [[nodiscard]] std::vector<Section> load_sections(std::size_t checkpoint) const;
  /// The pages in which the checkpoint differs from its parent, ascending, with
  /// where they lie.
  [[nodiscard]] std::vector<PageRecord> page_delta(std::size_t checkpoint) const;
  /// The page with this content, checked against it, however it is kept. Throws Error{bad_input}
  /// when the recording does not hold it. Where it lies spares looking for it.
  void read_page(const Hash128& content, PageBytes out,
                 std::optional<std::uint32_t> place = std::nullopt) const;
  /// Where the page lies among all pages stored: reading many pages in this
  /// order decompresses each batch once. Throws like read_page.
  [[nodiscard]] std::uint64_t page_place(const Hash128& content) const;

  /// Fills `out` with what the guest got of a medium's block, checked; with zeros if it
  /// could not be read. Throws Error{bad_input} on damage.
  /// @return nothing when the recorded run did not read it
  [[nodiscard]] std::optional<BlockKind> read_block(std::uint32_t medium, std::uint64_t block,
                                                    PageBytes out) const;
  /// The blocks of all media that the recorded run read, in the order of first reads.
  [[nodiscard]] std::vector<BlockEntry> block_entries() const;
  /// The same of what was read on the way to `position`, and perhaps a little more.
  [[nodiscard]] std::vector<BlockEntry> block_entries_to(Position position) const;

  [[nodiscard]] std::vector<DigestRecord> digests() const;
  /// How many chunks of digests there are, and the digests in one; none if it is damaged
  /// since, or behind damage.
  [[nodiscard]] std::size_t digest_chunks() const { return index().digests.size(); }
  [[nodiscard]] std::vector<DigestRecord> read_digests(std::size_t i) const;
  [[nodiscard]] std::uint64_t digest_count() const;
  /// How many inputs of each kind there are.
  [[nodiscard]] std::map<InputKind, std::uint64_t> input_counts() const;
  [[nodiscard]] const IndexTable<IntervalInfo>& intervals() const { return index().intervals; }
  [[nodiscard]] Bytes load_interval(std::size_t i) const;
  /// The group of this level whose intervals begin at `position`, or end there; nothing:
  /// there is no filter over one.
  [[nodiscard]] std::optional<IntervalInfo> group_from(unsigned level, Position position) const;
  [[nodiscard]] std::optional<IntervalInfo> group_up_to(unsigned level, Position position) const;
  [[nodiscard]] AccessFilter load_filter(unsigned level, const IntervalInfo& group) const;
  /// Shows all console output in order. Chunks that are damaged are left out.
  void for_each_console(const std::function<void(const ConsoleView&)>& visit) const;
  /// The same for one of the chunks that console output is in, of which there are so many.
  [[nodiscard]] std::size_t console_chunks() const { return index().consoles.size(); }
  void show_console(std::size_t i, const std::function<void(const ConsoleView&)>& visit) const;
  [[nodiscard]] std::vector<Bookmark> bookmarks() const;

  /// The size of the recording by section, in order of type number.
  [[nodiscard]] std::vector<TypeSize> sizes() const;
  /// Of all files; where a chunk lies is counted in its own.
  [[nodiscard]] const RecordingIndex& index() const {
    return joined_ ? *joined_ : files_.front()->file.index();
  }
  /// Blocks of the first file's index that were read, for tests and benches.
  [[nodiscard]] const IndexBlocks& index_blocks() const { return files_.front()->file.blocks(); }
  /// What is kept of what was read: pages, their directories, blocks of the index and of
  /// disks.
  [[nodiscard]] std::size_t cache_bytes() const;

 private:
  friend class EmbeddedImage;
  struct PageCache;
  struct BlockCache;

  /// A file, and what of the recording lies before it.
  struct File {
    [[nodiscard]] Position begin() const;
    [[nodiscard]] Position end() const;
    File(std::shared_ptr<const InputFile> opened, std::size_t index_bytes, bool rescan)
        : file(std::move(opened), index_bytes, rescan) {}
    RecordingFile file;
    PartBase base;
    std::uint64_t frames_sent = 0;
    std::uint64_t frames_received = 0;
  };
  void open(const PartProvider& parts, const ReaderOptions& options);
  void note_part();
  void open_following(const PartProvider& parts, const ReaderOptions& options);
  [[nodiscard]] std::optional<std::string> trouble_with(const File& next) const;
  void refuse_following(const std::string& why);
  [[nodiscard]] PartBase base_behind(File& file) const;
  void count_frames(const File& before, File& next) const;
  /// The file that a chunk is in.
  [[nodiscard]] const File& file_of(std::uint64_t sequence) const;
  [[nodiscard]] std::string place(std::uint64_t sequence) const;
  [[noreturn]] void fail(std::uint64_t sequence, const std::string& reason) const;
  [[nodiscard]] Bytes read_chunk(std::uint64_t sequence, ChunkType type) const;
  [[nodiscard]] Bytes read_stream(const StreamRef& stream, ChunkType type, const char* what) const;
  [[nodiscard]] bool is_usable(std::uint64_t sequence) const;
  [[nodiscard]] CheckpointInfo checked_checkpoint(std::size_t i) const;
  /// Whether chunk `batch.sequence` is there and may hold these pages.
  [[nodiscard]] bool is_there(const PageBatch& batch) const;
  [[nodiscard]] std::vector<BlockEntry> read_block_directory(std::uint64_t sequence) const;
  [[nodiscard]] std::shared_ptr<const Bytes> block_data(std::uint64_t sequence) const;
  /// The pages in batch chunk `sequence`, which are `count`.
  [[nodiscard]] std::shared_ptr<const RecipeBatch> batch_content(std::uint64_t sequence,
                                                                 std::uint32_t count) const;
  /// Makes the page with this number; does not check its content.
  void make_page(std::uint32_t ordinal, PageBytes out) const;
  /// Fills `out` with what a recipe of a page in batch chunk `sequence` begins from.
  void read_image_piece(const PageRecipe& recipe, std::uint64_t sequence, PageBytes out) const;
  void read_block_content(const PageRecipe& recipe, std::uint64_t sequence, PageBytes out) const;
  /// The page's number; needs the cache lock.
  [[nodiscard]] std::uint32_t ordinal_of(const Hash128& content) const;

  std::vector<std::unique_ptr<File>> files_;
  std::optional<PartNote> note_;          ///< of the first
  std::optional<RecordingIndex> joined_;  ///< of several
  std::vector<Damage> damage_;
  std::string metadata_json_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<BlockCache> blocks_;
};

/// Walks the input log, reading one chunk at a time. One thread; the reader
/// must outlive it.
class InputCursor {
 public:
  /// Starts at the first input stamped at or after `from`.
  explicit InputCursor(const RecordingReader& reader, Position from = {});
  /// The next input, or nothing at the end of what is usable. Valid until the
  /// next call of pop. Throws Error{bad_input} on damage.
  [[nodiscard]] const InputEvent* peek();
  void pop() { ++next_; }

 private:
  const RecordingReader* reader_;  ///< a pointer, so that a cursor can be assigned
  std::size_t range_ = 0;
  std::size_t next_ = 0;
  std::optional<Position> reached_;  ///< where the range before ended
  std::vector<InputEvent> events_;
};

}  // namespace chronovisor
