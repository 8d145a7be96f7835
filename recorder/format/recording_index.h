// Owns what is known of a recording without reading its payloads: where every
// chunk lies, and the small facts (ranges, checkpoints, images) by which the
// rest is found. The same index is built by the writer as it writes, read from
// the footer, or rebuilt by a scan. Knows no file. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "recorder/format/chunk.h"

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
  bool operator==(const CheckpointInfo&) const = default;
};

/// An opaque search index over the interval [from, to).
struct IntervalInfo {
  Position from;
  Position to;
  std::uint64_t sequence = 0;
  bool operator==(const IntervalInfo&) const = default;
};

inline constexpr std::size_t kMaxImages = 1024;
/// The most the parts of a stream (sections, page maps) may add up to.
inline constexpr std::uint64_t kMaxStreamBytes = std::uint64_t{1} << 30;
inline constexpr std::size_t kMaxTextBytes = 4096;

/// Payloads of the chunks that are facts by themselves.
[[nodiscard]] Bytes encode_image(const ImageInfo& image);
[[nodiscard]] Bytes encode_checkpoint(const CheckpointInfo& checkpoint);
/// The head of an interval index payload; the opaque bytes follow.
void encode_interval_head(const IntervalInfo& interval, ByteWriter& out);
[[nodiscard]] IntervalInfo decode_interval_head(ByteReader& in);

class RecordingIndex {
 public:
  std::vector<ChunkEntry> chunks;
  std::optional<std::uint64_t> metadata;  ///< sequence number
  std::optional<std::uint64_t> summary;   ///< sequence number
  std::vector<InputRange> inputs;
  std::vector<ImageInfo> images;
  std::vector<CheckpointInfo> checkpoints;
  std::vector<IntervalInfo> intervals;

  /// Takes over the facts in the payload of chunk `sequence`, which is in
  /// `chunks` already. Throws Error{bad_input}, beginning with `what`, when
  /// they are malformed or contradict what is known.
  void add_payload(std::uint64_t sequence, ByteView payload, std::string_view what);
  /// Whether add_payload has any use for the payload of this type.
  [[nodiscard]] static bool wants_payload(std::uint32_t type);

  /// The footer's payload, for the chunks there are now.
  [[nodiscard]] Bytes encode() const;
  /// Throws Error{bad_input} for anything malformed, and unless the chunks
  /// lie end to end from the file header to `footer_offset`.
  [[nodiscard]] static RecordingIndex decode(ByteView payload, std::uint64_t footer_offset,
                                             std::string_view what);

  /// Where the inputs begin: 0, or the position a trimmed recording starts at.
  [[nodiscard]] Position start() const;
  /// How far the inputs in chunks before `sequence` reach without a gap.
  [[nodiscard]] Position complete_before(std::uint64_t sequence) const;

  bool operator==(const RecordingIndex&) const = default;

 private:
  using Reader = ByteReader;
  void add_input_range(const InputRange& range, Reader& in);
  void add_image(const ImageInfo& image, Reader& in);
  void add_checkpoint(const CheckpointInfo& checkpoint, Reader& in);
  void add_interval(const IntervalInfo& interval, Reader& in);
  void require_type(std::uint64_t sequence, ChunkType type, Reader& in) const;
  void require_stream(const StreamRef& stream, std::uint64_t sequence, Reader& in) const;
};

}  // namespace chronovisor
