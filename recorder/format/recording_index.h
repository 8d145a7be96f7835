// Owns what is known of a recording without reading its payloads: where every
// chunk lies, and the small facts (ranges, checkpoints, images) by which the
// rest is found. The same index is built by the writer as it writes, read from
// the footer, or rebuilt by a scan. What grows with a recording is in tables, of
// which all but the latest records may be in the file (index_table.h). Knows no
// file itself. Values; any thread.
//
// A recording whose tables fill no block has a footer that lists everything; others
// have a root, which leads to the blocks, as their footer. A root is also written now
// and then on the way, so that a recording that was cut off is scanned from there.
#pragma once

#include <array>
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
#include "recorder/format/chunk.h"
#include "recorder/format/index_records.h"
#include "recorder/format/index_table.h"

namespace chronovisor {

enum class ImageStorage : std::uint8_t { referenced = 0, embedded = 1 };

struct ImageInfo {
  std::string role;  ///< "kernel", "initrd", "disk0" ...
  std::string path;  ///< where it was read from, or is to be found
  std::uint64_t size_bytes = 0;
  Hash128 hash;
  ImageStorage storage = ImageStorage::embedded;
  StreamRef data;
  std::uint64_t sequence = 0;
  bool operator==(const ImageInfo&) const = default;
};

inline constexpr std::size_t kMaxImages = 1024;
/// The most the parts of a stream (sections, page maps) may add up to.
inline constexpr std::uint64_t kMaxStreamBytes = std::uint64_t{1} << 30;
inline constexpr std::size_t kMaxTextBytes = 4096;

/// Payloads of the chunks that are facts by themselves.
[[nodiscard]] Bytes encode_image(const ImageInfo& image);
[[nodiscard]] Bytes encode_checkpoint(const CheckpointInfo& checkpoint);
/// The head of an interval index payload; the opaque bytes follow. That of an interval filter
/// is the same, after u8 level.
void encode_interval_head(const IntervalInfo& interval, ByteWriter& out);
[[nodiscard]] IntervalInfo decode_interval_head(ByteReader& in);

/// What the chunks of one type take.
struct TypeTotal {
  std::uint64_t chunks = 0;
  std::uint64_t stored_bytes = 0;  ///< in the file, chunk headers included
  std::uint64_t raw_bytes = 0;     ///< before compression
  bool operator==(const TypeTotal&) const = default;
};

/// How much there is of what is in chunks by the many.
struct Tallies {
  std::map<std::uint8_t, std::uint64_t> inputs;  ///< by the number of their kind
  std::uint64_t digests = 0;
  bool operator==(const Tallies&) const = default;
};

class RecordingIndex {
 public:
  IndexTable<ChunkEntry> chunks;          ///< changed through add_chunk() alone
  std::optional<std::uint64_t> metadata;  ///< sequence number
  std::optional<std::uint64_t> summary;   ///< sequence number
  IndexTable<InputRange> inputs;
  std::vector<ImageInfo> images;
  IndexTable<CheckpointInfo> checkpoints;
  IndexTable<IntervalInfo> intervals;
  /// Where in `intervals` one begins before the one before it, ascending.
  std::vector<std::uint64_t> interval_runs;
  IndexTable<ChunkOf<ChunkType::digests>> digests;
  IndexTable<ChunkOf<ChunkType::console>> consoles;
  IndexTable<ChunkOf<ChunkType::bookmark>> bookmarks;  ///< and their removals
  IndexTable<ChunkOf<ChunkType::sent_frames>> frames;
  IndexTable<ChunkOf<ChunkType::counted_log>> counted;
  IndexTable<ChunkOf<ChunkType::block_directory>> block_directories;
  // Filters over groups of intervals; in each table they are in order and do not overlap.
  IndexTable<FilterOf<0>> filters;
  IndexTable<FilterOf<1>> group_filters;
  IndexTable<FilterOf<2>> large_filters;
  std::map<std::uint32_t, TypeTotal> totals;  ///< by type as stored
  /// Nothing: the footer of an earlier release does not say.
  std::optional<Tallies> tallies;

  /// An index of nothing, of which all is known.
  [[nodiscard]] static RecordingIndex of_new_recording();

  /// Adds a chunk to the table; its sequence number is that of those before it.
  void add_chunk(const ChunkEntry& chunk);
  /// Adds chunks that are lost, up to `sequence`.
  void add_lost_chunks(std::uint64_t sequence, std::uint64_t offset);
  /// Takes over the facts in the payload of chunk `sequence`, which is in
  /// `chunks` already. Throws Error{bad_input}, beginning with `what`, when
  /// they are malformed or contradict what is known.
  void add_payload(std::uint64_t sequence, ByteView payload, std::string_view what);
  void add_interval(const IntervalInfo& interval);
  void add_inputs(const InputRange& range);
  /// Adds a filter of a level, unless it does not come after the others of it.
  void add_filter(unsigned level, const IntervalInfo& filter);
  /// Whether add_payload has any use for the payload of this type.
  [[nodiscard]] static bool wants_payload(std::uint32_t type);

  /// Other blocks than usual; before anything is added.
  void shape_blocks(const BlockShape& shape);
  /// Whether tables are partly in the file, or due to be.
  [[nodiscard]] bool needs_blocks() const;
  /// Puts what fills blocks into the file by `write(payload)`, which adds the chunk and says
  /// where it is.
  void write_full_blocks(const std::function<BlockRef(ByteView)>& write);

  /// The footer's payload, for the chunks there are now, of an index without blocks.
  [[nodiscard]] Bytes encode() const;
  /// Throws Error{bad_input} for anything malformed, and unless the chunks
  /// lie end to end from the file header to `footer_offset`.
  [[nodiscard]] static RecordingIndex decode(ByteView payload, std::uint64_t footer_offset,
                                             std::string_view what);

  /// The root's payload, for the chunks there are now, when nothing fills a block.
  [[nodiscard]] Bytes encode_root() const;
  /// @param place of the root's own chunk: all lies before it
  /// @param blocks what is not in memory is read by this
  /// Throws Error{bad_input} for anything malformed, and unless the chunks lead up to `place`.
  [[nodiscard]] static RecordingIndex decode_root(ByteView payload, const BlockRef& place,
                                                  const std::shared_ptr<IndexBlocks>& blocks,
                                                  std::string_view what);

  /// What parts of one recording hold, one after the other; they outlive it.
  struct Piece {
    const RecordingIndex* index;
    PartBase base;
  };
  [[nodiscard]] static RecordingIndex joined(const std::vector<Piece>& pieces);

  /// Where the inputs begin: 0, or the position a trimmed recording starts at.
  [[nodiscard]] Position start() const { return start_; }
  /// How far the inputs in chunks before `sequence` reach without a gap.
  [[nodiscard]] Position complete_before(std::uint64_t sequence) const;

  /// Whether both say the same, wherever tables are.
  bool operator==(const RecordingIndex& other) const;

 private:
  using Reader = ByteReader;
  template <class Index, class Visit>
  static void for_each_table(Index& index, Visit&& visit);
  void add_input_range(const InputRange& range, Reader& in);
  void add_image(const ImageInfo& image, Reader& in);
  void add_checkpoint(const CheckpointInfo& checkpoint, Reader& in);
  void check_interval(const IntervalInfo& interval, Reader& in);
  void require_type(std::uint64_t sequence, ChunkType type, Reader& in) const;
  void require_stream(const StreamRef& stream, std::uint64_t sequence, Reader& in) const;
  void decode_runs(Reader& in);

  Position start_;
};

}  // namespace chronovisor
