// Owns a recording while it is made: frames records into chunks, appends them,
// and decides when bytes go to the file and to the medium. Knows nothing of
// the machine. What has been appended opens after any kill; at most 1 MiB or
// 100 ms of small records (inputs, digests, console output) is held back, so
// long as `tick` is called. A checkpoint's pages are compressed by a thread of
// its own meanwhile, and the checkpoint is in the file some ticks later; the
// log does not wait for it. Called from one thread.
//
// When the host fails a write, the Error is thrown, the file is cut to its
// last whole chunk, and the writer is dead: every later call throws the same
// message again, so a guest cannot run on unrecorded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "recorder/format/block_log.h"
#include "recorder/format/chunk.h"
#include "recorder/format/counted_log.h"
#include "recorder/format/file.h"
#include "recorder/format/frame_log.h"
#include "recorder/format/input_log.h"
#include "recorder/format/interval_groups.h"
#include "recorder/format/page_table.h"
#include "recorder/format/recording_index.h"
#include "recorder/format/recording_part.h"
#include "recorder/format/records.h"
#include "recorder/live/background_packer.h"

namespace chronovisor {

/// When written bytes are forced to the medium.
enum class SyncPolicy {
  none,      ///< never; a kill loses nothing written, a power loss may
  interval,  ///< every sync_interval_ns, and at the end
  output,    ///< before any output of the guest leaves (before_output), and at the end
};

struct WriterOptions {
  SyncPolicy sync = SyncPolicy::none;
  std::uint64_t sync_interval_ns = 1'000'000'000;
  /// Records older than this go to the file with the next tick; ticks are at
  /// most 20 ms apart, which makes 100 ms.
  std::uint64_t hold_ns = 80'000'000;
  std::size_t hold_bytes = 1u << 20;  ///< the most bytes held back
  /// zstd level of pages and of bulk input; 0 stores them as they are.
  int page_level = 1;
  int level = 3;  ///< zstd level of everything else
  std::uint32_t pages_per_batch =
      kPagesPerBatch;  ///< compressed together; at most kMaxPagesPerBatch
  Position start;      ///< where a trimmed recording starts
  /// Of the index; nothing: as usual. Readers take any.
  std::optional<BlockShape> index_blocks{};
  /// So much of the file at least, and not much more, lies between two marks from which a
  /// recording that was cut off is scanned.
  std::uint64_t mark_every_bytes = std::uint64_t{8} << 20;
  /// Which part of a recording in several files this is; nothing: it is all of it.
  std::optional<PartNote> part{};
};

class RecordingWriter {
 public:
  /// Begins a recording: file header and metadata are in `file` on return.
  /// `metadata_json` is UTF-8 text, kept as it is. Throws Error{host}.
  RecordingWriter(std::unique_ptr<OutputFile> file, const FileId& id,
                  std::string_view metadata_json, const WriterOptions& options = {});
  /// Goes on with a finished recording whose footer has been cut off: `index` is
  /// what it knew. Small records and interval indexes can be added; no inputs, pages
  /// or checkpoints.
  RecordingWriter(std::unique_ptr<OutputFile> file, const FileId& id, RecordingIndex index);

  /// Embeds `content` under `role`; equal contents are stored once. Throws
  /// Error{host}, or Error{bad_input} when the content cannot be read or
  /// changes meanwhile.
  void embed_image(const std::string& role, const std::string& path, const InputFile& content);
  /// Notes an image by hash only; replay needs the file at `path`.
  void reference_image(const std::string& role, const std::string& path, const InputFile& content);
  /// Notes a referenced image as another recording does.
  void reference_image(const ImageInfo& image);

  /// Logs an input. Position and idle time never go back.
  void input(const InputEvent& event);
  /// Logs an event of a run whose positions are not known; such a recording has no
  /// inputs, digests, console output or checkpoints.
  void counted(const CountedEvent& event, const CounterTrust& trust);
  /// Keeps what the guest got of a medium's block: nothing is a block that could not be
  /// read. A block that is known is not kept again; it will be in the file before any log
  /// that covers its use. Throws Error{host} when it was another one before: then the
  /// image changes under the run, which ends there.
  void block(std::uint32_t medium, std::uint64_t block, std::optional<ByteView> content);
  /// Says that the run has arrived at `position`: every input taken before it
  /// has been logged.
  void advance_to(Position position);
  void digest(const DigestRecord& record);
  void console(const ConsoleView& record);
  /// Logs a frame that card `card` has put out. Position and idle time never go back, and
  /// inputs that came before it have been logged.
  void sent_frame(Position position, std::uint64_t idle_ns, std::uint16_t card, ByteView frame);
  /// The same for one that another recording has.
  void sent_frame(const SentFrame& frame);

  /// Takes a checkpoint at the position the run has arrived at. `provide` is
  /// called for each content not stored yet, before this returns. Everything
  /// held back is written first; the checkpoint itself by later calls, at the
  /// latest by flush(), finish() or the next checkpoint.
  void checkpoint(const CheckpointRecord& record, const PageProvider& provide);
  /// Whether a page of this content need not be provided. What was stored long ago and not
  /// used since may be forgotten with the next checkpoint.
  [[nodiscard]] bool has_page(const Hash128& content) const;
  /// Opaque search data over the interval [from, to).
  void interval_index(Position from, Position to, ByteView data);
  void bookmark(const Bookmark& bookmark);
  /// Takes away all bookmarks of this name.
  void remove_bookmark(const std::string& name);

  /// Passes the time of a monotonic clock; writes what was held back for long
  /// enough, and syncs by policy. Call it at least every 20 ms while anything is
  /// recorded.
  void tick(std::uint64_t now_ns);
  /// Call before output of the guest leaves for the outside world.
  void before_output();
  /// Writes everything held back to the file, and the last checkpoint.
  void flush();
  /// flush, then forces the file to the medium whatever the policy.
  void flush_and_sync();
  /// Notes that another part follows; finish() comes next.
  void note_next_part();
  /// Ends the recording: summary (or none, as of a part of a run), footer and
  /// trailer. No call may follow.
  void finish(std::optional<std::string_view> summary_json);

  /// Where the recording starts.
  [[nodiscard]] Position start() const { return options_.start; }
  /// Bytes in the file, and bytes held back.
  [[nodiscard]] std::uint64_t file_bytes() const { return offset_; }
  [[nodiscard]] std::size_t held_bytes() const;
  [[nodiscard]] std::size_t checkpoint_count() const {
    return index_.checkpoints.size() + (pending_ ? 1 : 0);
  }
  [[nodiscard]] std::uint64_t input_count() const { return input_count_; }
  /// Bytes by chunk type and the facts written so far.
  [[nodiscard]] const RecordingIndex& index() const { return index_; }

 private:
  template <class Action>
  void guarded(Action&& action);
  void require_alive() const;
  void append_raw(ByteView data);
  std::uint64_t append_chunk(ChunkType type, ByteView payload, int level);
  std::uint64_t append_packed(ChunkType type, PackedChunk chunk);
  std::uint64_t note_chunk(ChunkType type, const ChunkHeader& header, ByteView chunk);
  StreamRef append_stream(ChunkType type, ByteView data);
  void held();
  void flush_held();
  void flush_inputs();
  void flush_blocks();
  void flush_frames();
  void sync_now();
  /// A checkpoint whose pages are being compressed.
  struct Pending {
    CheckpointInfo info;
    Bytes sections;
    Bytes map;
    std::vector<PageBatch> batches;  ///< in the file
    bool all_written = false;        ///< there are no more
  };
  void submit_new_pages(const CheckpointRecord& record, const PageProvider& provide);
  void submit(NewPages pages);
  void write_batch(PackedPages batch);
  void write_ready_batches();
  void write_pending();
  void write_pending_tail();
  void write_page_totals();
  void write_index();
  void write_filters(Position from, Position to, ByteView data);
  void write_footer();
  void append_image(ImageInfo image);

  std::unique_ptr<OutputFile> file_;
  FileId id_;
  WriterOptions options_;
  ChunkEncoder encoder_;
  PackedChunk packed_;  ///< keeps its memory
  RecordingIndex index_;
  PageTable pages_;
  std::uint64_t likely_bytes_ = 0;   ///< of images that pages may be like
  std::uint32_t pages_written_ = 0;  ///< in directories
  BackgroundPacker packer_;
  std::optional<Pending> pending_;
  std::uint64_t offset_ = 0;  ///< end of the last whole chunk
  std::uint64_t marked_ = 0;  ///< end of the last mark
  Tallies held_tallies_;      ///< of what is held back
  std::string dead_;          ///< why every call fails now
  bool finished_ = false;

  IntervalGroups groups_;
  InputLogEncoder inputs_;
  CountedLogEncoder counted_;
  BlockLog blocks_;
  DigestEncoder digests_;
  ConsoleEncoder console_;
  FrameLogEncoder frames_;
  std::uint64_t frames_received_ = 0;
  bool has_frames_ = false;  ///< some came or went
  Position arrived_;         ///< inputs before it are logged
  std::uint64_t input_count_ = 0;
  std::uint64_t now_ns_ = 0;
  std::optional<std::uint64_t> held_since_ns_;
  std::uint64_t last_sync_ns_ = 0;
  bool unsynced_ = false;
};

}  // namespace chronovisor
