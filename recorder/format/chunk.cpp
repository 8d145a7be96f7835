#include "recorder/format/chunk.h"

#include <sys/random.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/hash.h"

namespace chronovisor {

namespace {

constexpr std::string_view kFileMagic = "CVRFILE\n";
constexpr std::string_view kTrailerMagic = "CVREND.\n";
constexpr std::size_t kHeaderChecked = 48;
/// Beginning to compress takes longer than what is smaller than this is worth.
constexpr std::size_t kLeastPacked = 256;

std::string hex64(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string checksum_reason(std::uint64_t found, std::uint64_t expected) {
  return "checksum " + hex64(found) + ", expected " + hex64(expected);
}

/// Mixing the file id into the checksum is what keeps chunks at home.
std::uint64_t checksum_with_id(const FileId& id, ByteView data) {
  std::array<std::uint8_t, 16 + kHeaderChecked> mixed{};
  CHECK_THAT(data.size() <= kHeaderChecked, "only short headers are mixed");
  std::copy(id.bytes.begin(), id.bytes.end(), mixed.begin());
  std::copy(data.begin(), data.end(), mixed.begin() + 16);
  return hash64(ByteView(mixed).first(16 + data.size()));
}

template <class T>
void put(std::span<std::uint8_t> out, std::size_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out[offset + i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

template <class T>
T get(ByteView data, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{data[offset + i]} << (8 * i);
  return static_cast<T>(value);
}

bool starts_with(ByteView data, std::string_view text) {
  const ByteView wanted = as_bytes(text);
  return data.size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), data.begin());
}

}  // namespace

bool is_known_type(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::metadata:
    case ChunkType::image_data:
    case ChunkType::image:
    case ChunkType::input_log:
    case ChunkType::page_batch:
    case ChunkType::page_directory:
    case ChunkType::page_map:
    case ChunkType::sections:
    case ChunkType::checkpoint:
    case ChunkType::digests:
    case ChunkType::interval_index:
    case ChunkType::console:
    case ChunkType::bookmark:
    case ChunkType::summary:
    case ChunkType::footer:
    case ChunkType::bookmark_removed:
    case ChunkType::counted_log:
    case ChunkType::block_data:
    case ChunkType::block_directory:
    case ChunkType::page_recipes:
    case ChunkType::page_totals:
    case ChunkType::index_block:
    case ChunkType::index_root:
    case ChunkType::sent_frames:
    case ChunkType::index_mark:
    case ChunkType::part:
    case ChunkType::interval_filter:
      return true;
  }
  return false;
}

std::string chunk_type_name(std::uint32_t type) {
  switch (static_cast<ChunkType>(type)) {
    case ChunkType::metadata:
      return "metadata";
    case ChunkType::image_data:
      return "image data";
    case ChunkType::image:
      return "image";
    case ChunkType::input_log:
      return "input log";
    case ChunkType::page_batch:
      return "page batch";
    case ChunkType::page_directory:
      return "page directory";
    case ChunkType::page_map:
      return "page map";
    case ChunkType::sections:
      return "sections";
    case ChunkType::checkpoint:
      return "checkpoint";
    case ChunkType::digests:
      return "digests";
    case ChunkType::interval_index:
      return "interval index";
    case ChunkType::console:
      return "console";
    case ChunkType::bookmark:
      return "bookmark";
    case ChunkType::summary:
      return "summary";
    case ChunkType::footer:
      return "footer";
    case ChunkType::bookmark_removed:
      return "bookmark removed";
    case ChunkType::counted_log:
      return "counted log";
    case ChunkType::block_data:
      return "block data";
    case ChunkType::block_directory:
      return "block directory";
    case ChunkType::page_recipes:
      return "page recipes";
    case ChunkType::page_totals:
      return "page totals";
    case ChunkType::index_block:
      return "index block";
    case ChunkType::index_root:
      return "index root";
    case ChunkType::sent_frames:
      return "sent frames";
    case ChunkType::index_mark:
      return "index mark";
    case ChunkType::part:
      return "part";
    case ChunkType::interval_filter:
      return "interval filter";
  }
  return "type " + std::to_string(type & ~kCriticalFlag);
}

FileId FileId::random() {
  FileId id;
  std::size_t done = 0;
  while (done < id.bytes.size()) {
    const ssize_t count = ::getrandom(id.bytes.data() + done, id.bytes.size() - done, 0);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      throw Error{ErrorCode::host, "getrandom: the host gives no random bytes for the file id"};
    }
  }
  return id;
}

std::uint64_t FileId::tag() const { return hash64(bytes); }

Bytes encode_file_header(const FileHeader& header) {
  ByteWriter out;
  out.bytes(as_bytes(kFileMagic));
  out.integer(header.version);
  out.integer(std::uint32_t{0});
  out.bytes(header.id.bytes);
  out.integer(hash64(out.data()));
  return out.take();
}

FileHeader decode_file_header(ByteView data, const std::string& file_name) {
  if (data.size() < kFileHeaderSize || !starts_with(data, kFileMagic)) {
    throw Error{ErrorCode::bad_input,
                file_name + ": not a recording: it does not start with a .cvr file header"};
  }
  FileHeader header;
  header.version = get<std::uint32_t>(data, 8);
  std::copy_n(data.begin() + 16, 16, header.id.bytes.begin());
  const std::uint64_t found = hash64(data.first(32));
  const std::uint64_t expected = get<std::uint64_t>(data, 32);
  if (found != expected) {
    throw Error{ErrorCode::bad_input,
                file_name + ": file header at byte 0x0: " + checksum_reason(found, expected) +
                    "; the recording cannot be used, as its file id is not certain"};
  }
  if (header.version == 0 || header.version > kFormatVersion) {
    throw Error{ErrorCode::bad_input, file_name + ": format version " +
                                          std::to_string(header.version) +
                                          "; this chronovisor reads versions 1 to " +
                                          std::to_string(kFormatVersion) + ", use a newer one"};
  }
  if (get<std::uint32_t>(data, 12) != 0) {
    throw Error{ErrorCode::bad_input,
                file_name + ": file header at byte 0xc: reserved bits are set"};
  }
  return header;
}

void encode_chunk_header(const ChunkHeader& header, const FileId& id,
                         std::span<std::uint8_t, kChunkHeaderSize> out) {
  std::copy(kChunkMagic.begin(), kChunkMagic.end(), out.begin());
  put(out, 4, header.type);
  put(out, 8, header.sequence);
  put(out, 16, id.tag());
  put(out, 24, header.stored_length);
  put(out, 28, header.raw_length);
  put(out, 32, static_cast<std::uint32_t>(header.codec));
  put(out, 36, std::uint32_t{0});
  put(out, 40, header.payload_checksum);
  put(out, 48, checksum_with_id(id, ByteView(out).first(kHeaderChecked)));
}

std::variant<ChunkHeader, ChunkFault> decode_chunk_header(
    std::span<const std::uint8_t, kChunkHeaderSize> data, const FileId& id) {
  if (!std::equal(kChunkMagic.begin(), kChunkMagic.end(), data.begin())) {
    return ChunkFault{"no chunk starts here"};
  }
  const std::uint64_t found = checksum_with_id(id, ByteView(data).first(kHeaderChecked));
  const std::uint64_t expected = get<std::uint64_t>(data, 48);
  if (found != expected) {
    const std::uint64_t tag = get<std::uint64_t>(data, 16);
    if (tag != id.tag()) {
      return ChunkFault{"file tag " + hex64(tag) + ", expected " + hex64(id.tag()) +
                        " (a chunk of another recording)"};
    }
    return ChunkFault{"header " + checksum_reason(found, expected)};
  }
  ChunkHeader header;
  header.type = get<std::uint32_t>(data, 4);
  header.sequence = get<std::uint64_t>(data, 8);
  header.stored_length = get<std::uint32_t>(data, 24);
  header.raw_length = get<std::uint32_t>(data, 28);
  const std::uint32_t codec = get<std::uint32_t>(data, 32);
  header.codec = static_cast<Codec>(codec);
  header.payload_checksum = get<std::uint64_t>(data, 40);
  if (get<std::uint64_t>(data, 16) != id.tag())
    return ChunkFault{"a file tag of another recording"};
  if (header.stored_length > kMaxChunkBytes || header.raw_length > kMaxChunkBytes) {
    return ChunkFault{"length " + std::to_string(header.stored_length) + " stored, " +
                      std::to_string(header.raw_length) + " raw, the limit is " +
                      std::to_string(kMaxChunkBytes)};
  }
  if (codec > 1) return ChunkFault{"codec " + std::to_string(codec) + " is not known"};
  if (header.codec == Codec::none && header.stored_length != header.raw_length) {
    return ChunkFault{"stored and raw length differ without compression"};
  }
  if (get<std::uint32_t>(data, 36) != 0) return ChunkFault{"reserved header bits are set"};
  return header;
}

std::optional<ChunkFault> check_payload(const ChunkHeader& header, ByteView stored) {
  const std::uint64_t found = hash64(stored);
  if (stored.size() == header.stored_length && found == header.payload_checksum) return {};
  return ChunkFault{checksum_reason(found, header.payload_checksum)};
}

std::variant<Bytes, ChunkFault> decode_payload(const ChunkHeader& header, ByteView stored) {
  if (header.codec == Codec::none) return Bytes(stored.begin(), stored.end());
  Bytes raw(header.raw_length);
  const std::size_t size = ZSTD_decompress(raw.data(), raw.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0) {
    return ChunkFault{std::string("zstd: ") + ZSTD_getErrorName(size)};
  }
  if (size != raw.size()) {
    return ChunkFault{"decompresses to " + std::to_string(size) + " bytes instead of " +
                      std::to_string(raw.size())};
  }
  return raw;
}

Bytes encode_trailer(const Trailer& trailer, const FileId& id) {
  ByteWriter out;
  out.bytes(as_bytes(kTrailerMagic));
  out.integer(trailer.footer_offset);
  out.integer(trailer.footer_sequence);
  out.integer(id.tag());
  out.integer(checksum_with_id(id, out.data()));
  return out.take();
}

std::optional<Trailer> decode_trailer(ByteView data, const FileId& id) {
  if (data.size() != kTrailerSize || !starts_with(data, kTrailerMagic)) return {};
  if (get<std::uint64_t>(data, 24) != id.tag()) return {};
  if (get<std::uint64_t>(data, 32) != checksum_with_id(id, data.first(32))) return {};
  return Trailer{get<std::uint64_t>(data, 8), get<std::uint64_t>(data, 16)};
}

struct ChunkEncoder::Impl {
  struct FreeContext {
    void operator()(ZSTD_CCtx* freed) const { ZSTD_freeCCtx(freed); }
  };
  std::unique_ptr<ZSTD_CCtx, FreeContext> context{ZSTD_createCCtx()};
};

ChunkEncoder::ChunkEncoder() : impl_(std::make_unique<Impl>()) {
  if (impl_->context == nullptr) throw Error{ErrorCode::host, "zstd: no memory for a compressor"};
}
ChunkEncoder::~ChunkEncoder() = default;

void ChunkEncoder::pack(ByteView payload, int level, PackedChunk& out) {
  CHECK_THAT(payload.size() <= kMaxChunkBytes, "a chunk's payload is split before it gets here");
  out.header = {};
  out.header.raw_length = static_cast<std::uint32_t>(payload.size());
  std::size_t stored = 0;
  if (level != 0 && payload.size() >= kLeastPacked) {
    const std::size_t bound = ZSTD_compressBound(payload.size());
    out.bytes.resize(kChunkHeaderSize + bound);
    stored = ZSTD_compressCCtx(impl_->context.get(), out.bytes.data() + kChunkHeaderSize, bound,
                               payload.data(), payload.size(), level);
    if (ZSTD_isError(stored) != 0 || stored >= payload.size()) stored = 0;
  }
  out.header.codec = stored != 0 ? Codec::zstd : Codec::none;
  if (stored == 0) {
    stored = payload.size();
    out.bytes.resize(kChunkHeaderSize + stored);
    std::copy(payload.begin(), payload.end(), out.bytes.begin() + kChunkHeaderSize);
  }
  out.bytes.resize(kChunkHeaderSize + stored);
  out.header.stored_length = static_cast<std::uint32_t>(stored);
  out.header.payload_checksum = hash64(ByteView(out.bytes).subspan(kChunkHeaderSize));
}

void seal_chunk(PackedChunk& chunk, ChunkType type, std::uint64_t sequence, const FileId& id) {
  chunk.header.type = static_cast<std::uint32_t>(type);
  chunk.header.sequence = sequence;
  encode_chunk_header(chunk.header, id, std::span(chunk.bytes).first<kChunkHeaderSize>());
}

const Bytes& ChunkEncoder::encode(ChunkType type, std::uint64_t sequence, const FileId& id,
                                  ByteView payload, int level) {
  pack(payload, level, out_);
  seal_chunk(out_, type, sequence, id);
  return out_.bytes;
}

}  // namespace chronovisor
