// Owns the outermost layer of a .cvr file: the file header, the frame around
// every chunk, and the trailer. Knows sizes, checksums and compression; must
// not know what a payload means. Values and pure functions; any thread. One
// ChunkEncoder belongs to one thread.
//
// All integers are little-endian. docs/FORMATS.md says the same for people.
//
//   file    := file_header chunk* [ footer_chunk+ trailer ]
//
//   file_header (40 bytes)             chunk (56 bytes, then the stored bytes)
//    0  8  "CVRFILE\n"                  0  4  magic "CVK\x9e"
//    8  4  format version               4  4  type; bit 31: critical
//   12  4  zero                         8  8  sequence number, from 0
//   16 16  random file id              16  8  file tag: XXH3-64 of the file id
//   32  8  XXH3-64 of bytes 0..31      24  4  stored length in bytes
//                                      28  4  raw length in bytes
//   trailer (40 bytes)                 32  4  codec: 0 none, 1 zstd
//    0  8  "CVREND.\n"                 36  4  zero
//    8  8  offset of the first footer  40  8  XXH3-64 of the stored bytes
//   16  8  its sequence number         48  8  XXH3-64 of file id, bytes 0..47
//   24  8  file tag                    56  .. stored bytes
//   32  8  XXH3-64 of file id, 0..31
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"

namespace chronovisor {

inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::size_t kFileHeaderSize = 40;
inline constexpr std::size_t kChunkHeaderSize = 56;
inline constexpr std::size_t kTrailerSize = 40;
/// The most a chunk may hold, before and after compression.
inline constexpr std::uint32_t kMaxChunkBytes = 16u << 20;
/// In ChunkHeader::type: a reader that does not know the type must refuse.
inline constexpr std::uint32_t kCriticalFlag = 0x8000'0000u;
inline constexpr std::array<std::uint8_t, 4> kChunkMagic = {'C', 'V', 'K', 0x9e};

/// The type numbers as stored, critical flag included. Never renumbered.
enum class ChunkType : std::uint32_t {
  metadata = kCriticalFlag | 1,
  image_data = kCriticalFlag | 2,
  image = kCriticalFlag | 3,
  input_log = kCriticalFlag | 4,
  page_batch = kCriticalFlag | 5,
  page_directory = kCriticalFlag | 6,
  page_map = kCriticalFlag | 7,
  sections = kCriticalFlag | 8,
  checkpoint = kCriticalFlag | 9,
  digests = 10,
  interval_index = 11,
  console = 12,
  bookmark = 13,
  summary = 14,
  footer = 15,
  bookmark_removed = 16,
  counted_log = kCriticalFlag | 17,
  block_data = kCriticalFlag | 18,
  block_directory = kCriticalFlag | 19,
  page_recipes = kCriticalFlag | 20,
  page_totals = 21,
  index_block = 22,
  index_root = 23,
  sent_frames = 24,
  index_mark = 25,
  part = 26,
  interval_filter = 27,
};

/// Whether this version knows the type number.
[[nodiscard]] bool is_known_type(std::uint32_t type);
/// The type's name, or "type 77" when unknown.
[[nodiscard]] std::string chunk_type_name(std::uint32_t type);

enum class Codec : std::uint32_t { none = 0, zstd = 1 };

/// Tells the chunks of one file from those of any other.
struct FileId {
  std::array<std::uint8_t, 16> bytes{};
  bool operator==(const FileId&) const = default;
  /// From the host's random source. Throws Error{host}.
  static FileId random();
  [[nodiscard]] std::uint64_t tag() const;
};

struct FileHeader {
  std::uint32_t version = kFormatVersion;
  FileId id;
};

[[nodiscard]] Bytes encode_file_header(const FileHeader& header);
/// Throws Error{bad_input} when `data` is not the header of a recording this
/// version can read.
[[nodiscard]] FileHeader decode_file_header(ByteView data, const std::string& file_name);

struct ChunkHeader {
  std::uint32_t type = 0;
  std::uint64_t sequence = 0;
  std::uint32_t stored_length = 0;
  std::uint32_t raw_length = 0;
  Codec codec = Codec::none;
  std::uint64_t payload_checksum = 0;
  bool operator==(const ChunkHeader&) const = default;
};

/// Why bytes are not the chunk they should be: the end of a message.
struct ChunkFault {
  std::string reason;
};

void encode_chunk_header(const ChunkHeader& header, const FileId& id,
                         std::span<std::uint8_t, kChunkHeaderSize> out);
/// Believes nothing before the checksum agrees; lengths and codec are within
/// their limits in what it returns.
[[nodiscard]] std::variant<ChunkHeader, ChunkFault> decode_chunk_header(
    std::span<const std::uint8_t, kChunkHeaderSize> data, const FileId& id);

/// The fault of `stored`, or nothing when its checksum agrees.
[[nodiscard]] std::optional<ChunkFault> check_payload(const ChunkHeader& header, ByteView stored);
/// Decompresses a checked payload into exactly raw_length bytes.
[[nodiscard]] std::variant<Bytes, ChunkFault> decode_payload(const ChunkHeader& header,
                                                             ByteView stored);

struct Trailer {
  std::uint64_t footer_offset = 0;
  std::uint64_t footer_sequence = 0;
};
[[nodiscard]] Bytes encode_trailer(const Trailer& trailer, const FileId& id);
[[nodiscard]] std::optional<Trailer> decode_trailer(ByteView data, const FileId& id);

/// A chunk whose payload is ready, with room for its header in front; what the
/// header says of its place in the file is still missing.
struct PackedChunk {
  ChunkHeader header;  ///< without type and sequence
  Bytes bytes;
};
/// Writes the header; `bytes` is then the whole chunk.
void seal_chunk(PackedChunk& chunk, ChunkType type, std::uint64_t sequence, const FileId& id);

/// Frames and compresses payloads, keeping the compressor's memory.
class ChunkEncoder {
 public:
  ChunkEncoder();
  ~ChunkEncoder();
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;

  /// Header and stored bytes of one chunk. `level` 0 stores as it is; a
  /// payload that does not shrink is stored as it is too. The result is valid
  /// until the next call.
  const Bytes& encode(ChunkType type, std::uint64_t sequence, const FileId& id, ByteView payload,
                      int level);
  /// The part of encode() that takes time and does not depend on the chunk's
  /// place; reuses the memory of `out`.
  void pack(ByteView payload, int level, PackedChunk& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  PackedChunk out_;
};

}  // namespace chronovisor
