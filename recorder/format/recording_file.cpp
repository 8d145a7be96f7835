#include "recorder/format/recording_file.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "base/error.h"
#include "recorder/format/page_table.h"
#include "recorder/format/records.h"

namespace chronovisor {
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

RecordingFile::RecordingFile(std::shared_ptr<const InputFile> file, std::size_t index_bytes,
                             bool rescan)
    : file_(std::move(file)) {
  Bytes start(kFileHeaderSize);
  start.resize(file_->read(0, start));
  header_ = decode_file_header(start, file_->name());
  blocks_ = std::make_shared<IndexBlocks>(file_, header_.id);
  blocks_->limit(index_bytes);
  std::optional<std::string> reason =
      rescan ? name() + ": its index is not used" : open_by_footer();
  if (!reason) reason = first_chunk_trouble(index_);
  if (reason) {
    std::optional<ScanResult> tail;
    if (!rescan) tail = scan_tail(*file_, header_, blocks_);
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
}

std::vector<Damage> RecordingFile::scan() const { return scan_recording(*file_, header_).damage; }

std::optional<PartNote> RecordingFile::part() const {
  constexpr std::uint64_t kPlace = 1;  // behind the metadata
  if (!index_.totals.contains(static_cast<std::uint32_t>(ChunkType::part))) return std::nullopt;
  if (index_.chunks.size() <= kPlace ||
      index_.chunks[kPlace].type != static_cast<std::uint32_t>(ChunkType::part)) {
    return std::nullopt;
  }
  return decode_part_note(read_chunk(kPlace, ChunkType::part), place(kPlace));
}

std::uint64_t RecordingFile::number_pages() {
  IndexTable<CheckpointInfo>& checkpoints = index_.checkpoints;
  const auto known = std::partition_point(
      checkpoints.begin(), checkpoints.end(),
      [](const CheckpointInfo& info) { return info.pages_before.has_value(); });
  auto n = static_cast<std::size_t>(known - checkpoints.begin());
  std::uint64_t pages = 0;
  if (n != 0) pages = *checkpoints[--n].pages_before;
  for (; n < checkpoints.size(); ++n) {
    const CheckpointInfo info = checkpoints[n];
    if (pages >= kMostNumbered) fail(info.sequence, "more pages than can be numbered");
    if (!info.pages_before) {
      // What a scan found is in memory.
      if (!checkpoints.is_in_memory(n)) fail(info.sequence, "the index does not know its pages");
      checkpoints.in_memory(n).pages_before = static_cast<std::uint32_t>(pages);
    }
    const Bytes directory =
        read_stream(info.directory, ChunkType::page_directory, "page directory");
    for (const PageBatch& batch : decode_page_directory(directory, place(info.sequence))) {
      pages += batch.pages.size();
    }
  }
  return pages;
}

bool RecordingFile::goes_on() const {
  const auto notes = index_.totals.find(static_cast<std::uint32_t>(ChunkType::part));
  return notes != index_.totals.end() && notes->second.chunks > 1;
}

/// What is at the end of a file that grows is not damage.
void RecordingFile::note_recorder_at_work() {
  if (damage_.empty()) return;
  Damage& last = damage_.back();
  const bool at_end = last.kind == DamageKind::unfinished || last.kind == DamageKind::torn_tail;
  if (!at_end || !file_->is_being_written()) return;
  last.kind = DamageKind::being_written;
  last.message =
      name() + ": is being recorded; so far it goes up to position " + grouped(usable_to().steps);
}

/// Takes the index from the footer, or returns why that cannot be done.
std::optional<std::string> RecordingFile::open_by_footer() {
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
                               ? RecordingIndex::decode_root(footer, at, blocks_, what)
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
Bytes RecordingFile::read_footer(const Trailer& trailer, const std::string& what,
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

std::string RecordingFile::place(std::uint64_t sequence) const {
  return chunk_place(name(), sequence, index_.chunks[static_cast<std::size_t>(sequence)].offset);
}

void RecordingFile::fail(std::uint64_t sequence, const std::string& reason) const {
  throw Error{ErrorCode::bad_input,
              place(sequence) + ": " + reason +
                  loss_of(index_.chunks[static_cast<std::size_t>(sequence)].type,
                          index_.complete_before(sequence))};
}

Bytes RecordingFile::read_chunk(std::uint64_t sequence, ChunkType type) const {
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

Bytes RecordingFile::read_stream(const StreamRef& stream, ChunkType type, const char* what) const {
  const std::uint64_t chunks = index_.chunks.size();
  if (stream.count > chunks || stream.first > chunks - stream.count) {
    throw Error{ErrorCode::bad_input, name() + ": " + what + " is not in the file"};
  }
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

}  // namespace chronovisor
