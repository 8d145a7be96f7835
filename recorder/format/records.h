// Owns the records inside a recording that are neither input nor index:
// checkpoints with their sections and pages, digests, console output and
// bookmarks, and how their payloads are packed. Knows no file and no machine.
// Values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/state.h"
#include "base/units.h"

namespace chronovisor {

/// A page of guest memory (physical address / 4096) and its content's hash.
struct PageRecord {
  std::uint64_t page = 0;
  Hash128 content;
  /// Where the content lies among all pages stored in the recording that this was read from;
  /// nothing where that is not known, and of a page of zeros.
  std::optional<std::uint32_t> place = std::nullopt;

  bool operator==(const PageRecord& other) const {
    return page == other.page && content == other.content;
  }
};

/// A checkpoint as it is given to the writer.
struct CheckpointRecord {
  Position position;
  std::uint64_t idle_ns = 0;
  Hash128 digest;
  /// Which checkpoint in this file `pages` differ from, counted from 0, or
  /// nothing when they differ from a memory of zeros.
  std::optional<std::uint32_t> parent;
  std::vector<Section> sections;
  /// Ascending by page number, each page once.
  std::vector<PageRecord> pages;
};

using PageBytes = std::span<std::uint8_t, kPageSize>;
/// Fills in the content of a page of the checkpoint being written.
using PageProvider = std::function<void(const PageRecord&, PageBytes)>;

struct DigestRecord {
  Position position;
  Hash128 digest;
  bool operator==(const DigestRecord&) const = default;
};

/// Where console output came from. Stored numbers; never renumbered.
enum class ConsoleChannel : std::uint8_t {
  serial0 = 0,
  debug_port = 1,
  serial1 = 2,
  firmware = 3,  ///< what firmware says of itself, to port 402H
  console = 4,   ///< of virtio
  parallel = 5,  ///< what was printed
};
inline constexpr std::size_t kConsoleChannels = 6;

struct ConsoleView {
  Position position;
  std::uint64_t idle_ns = 0;  ///< accumulated virtual idle time at the position
  ConsoleChannel channel = ConsoleChannel::serial0;
  ByteView bytes;
};

struct Bookmark {
  Position position;
  std::string name;
  bool operator==(const Bookmark&) const = default;
};

inline constexpr std::size_t kMaxSectionName = 256;
inline constexpr std::uint64_t kMaxPageNumber = std::uint64_t{1} << 40;
/// The most pages in one checkpoint's map (64 GiB of memory).
inline constexpr std::uint64_t kMaxPagesPerMap = std::uint64_t{1} << 24;
/// Pages compressed together in one page batch chunk.
inline constexpr std::uint32_t kPagesPerBatch = 16;
/// A reader accepts batches of up to this many pages.
inline constexpr std::uint32_t kMaxPagesPerBatch = 4096;

/// sections := { varint name length, name, varint length, bytes } ...
[[nodiscard]] Bytes encode_sections(std::span<const Section> sections);
[[nodiscard]] std::vector<Section> decode_sections(ByteView data, std::string_view what);

/// One entry of a page map: the page and 0 for a page of zeros, or 1 + the
/// ordinal of its content.
struct PageMapEntry {
  std::uint64_t page = 0;
  std::uint64_t code = 0;
  Hash128 content;  ///< where the map says it
};
/// What a checkpoint says of the pages that differ from its parent's.
struct PageMapRecord {
  std::vector<PageMapEntry> entries;  ///< by page
  /// Whether the contents are named beside their ordinals. Without, they are in the
  /// directories of the checkpoints with which they came.
  bool has_contents = false;
};
/// page_map := varint count, { varint page - (page before + 1), varint code } ...,
///   [u128 hash of each content whose code is not 0, in their order]
[[nodiscard]] Bytes encode_page_map(const PageMapRecord& map);
[[nodiscard]] PageMapRecord decode_page_map(ByteView data, std::string_view what);

/// A page batch as the directory lists it: its chunk and what it holds.
struct PageBatch {
  std::uint64_t sequence = 0;
  std::vector<Hash128> pages;
};
/// page_directory := { varint sequence, varint count, count * u128 hash } ...
void encode_page_batch(const PageBatch& batch, ByteWriter& out);
[[nodiscard]] std::vector<PageBatch> decode_page_directory(ByteView data, std::string_view what);

/// page_totals := varint count, count * varint: how many pages the directory of each
/// checkpoint lists, in their order
[[nodiscard]] Bytes encode_page_totals(std::span<const std::uint32_t> totals);
[[nodiscard]] std::vector<std::uint32_t> decode_page_totals(ByteView data, std::string_view what);

/// digests := { varint steps since the one before, u128 } ...
[[nodiscard]] std::vector<DigestRecord> decode_digests(ByteView data, std::string_view what);

/// Packs digests and console output; positions within a chunk never go back.
class DigestEncoder {
 public:
  void add(const DigestRecord& record);
  [[nodiscard]] std::size_t size_bytes() const { return out_.size(); }
  [[nodiscard]] Bytes take();

 private:
  ByteWriter out_;
  Position last_;
};

/// console := { u8 tag, varint steps, [varint idle growth], [varint length], bytes } ...
/// tag: bits 0..3 channel, 4 idle_ns grew, 5 length is written out (else 1).
/// The first record counts from position 0 and idle_ns 0.
class ConsoleEncoder {
 public:
  void add(const ConsoleView& record);
  [[nodiscard]] std::size_t size_bytes() const { return out_.size(); }
  [[nodiscard]] Bytes take();

 private:
  ByteWriter out_;
  Position position_;
  std::uint64_t idle_ns_ = 0;
};
void decode_console(ByteView data, std::string_view what,
                    const std::function<void(const ConsoleView&)>& visit);

/// bookmark := varint position, varint length, name
[[nodiscard]] Bytes encode_bookmark(const Bookmark& bookmark);
[[nodiscard]] Bookmark decode_bookmark(ByteView data, std::string_view what);
/// bookmark_removed := varint length, name; takes away all of that name before it
[[nodiscard]] Bytes encode_bookmark_removed(const std::string& name);
[[nodiscard]] std::string decode_bookmark_removed(ByteView data, std::string_view what);

/// 41239004 -> "41,239,004", as positions are shown in messages.
[[nodiscard]] std::string grouped(std::uint64_t value);

}  // namespace chronovisor
