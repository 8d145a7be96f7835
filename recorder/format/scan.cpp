#include "recorder/format/scan.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <variant>

#include "base/error.h"
#include "recorder/format/chunk_purpose.h"
#include "recorder/format/records.h"

namespace chronovisor {

namespace {

/// How many chunks may be missing beyond what the bytes stepped over could
/// have held; bounds the table against hostile sequence numbers.
constexpr std::uint64_t kMissingChunks = 1u << 16;
constexpr std::size_t kSearchWindow = 1u << 16;
/// A mark is looked for in so much of the end of a file, in pieces of so much.
constexpr std::uint64_t kMostMarkDistance = std::uint64_t{128} << 20;
constexpr std::uint64_t kTailWindow = 1u << 20;

std::string hex_offset(std::uint64_t offset) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(offset));
  return text;
}

bool is_image_type(std::uint32_t type) { return chunk_purpose(type) == ChunkPurpose::image; }

/// Page totals only spare reading.
bool is_checkpoint_type(std::uint32_t type) {
  return chunk_purpose(type) == ChunkPurpose::checkpoint &&
         type != static_cast<std::uint32_t>(ChunkType::page_totals);
}

/// Whether the loss of a chunk of this type ends the run's log.
bool breaks_log(std::uint32_t type) {
  return type == 0 || type == static_cast<std::uint32_t>(ChunkType::input_log) ||
         type == static_cast<std::uint32_t>(ChunkType::counted_log) ||
         type == static_cast<std::uint32_t>(ChunkType::block_data) ||
         type == static_cast<std::uint32_t>(ChunkType::block_directory) ||
         type == static_cast<std::uint32_t>(ChunkType::metadata);
}

/// Whether a chunk says something about the run that only holds while the log
/// before it is whole.
bool follows_log(std::uint32_t type) {
  return is_checkpoint_type(type) || type == static_cast<std::uint32_t>(ChunkType::input_log) ||
         type == static_cast<std::uint32_t>(ChunkType::counted_log) ||
         type == static_cast<std::uint32_t>(ChunkType::digests) ||
         type == static_cast<std::uint32_t>(ChunkType::interval_index) ||
         type == static_cast<std::uint32_t>(ChunkType::interval_filter);
}

class Scanner {
 public:
  Scanner(const InputFile& file, const FileHeader& header) : file_(file), id_(header.id) {
    result_.index = RecordingIndex::of_new_recording();
    Bytes data(kTrailerSize);
    if (file.size() >= kFileHeaderSize + kTrailerSize &&
        file.read(file.size() - kTrailerSize, data) == kTrailerSize) {
      trailer_ = decode_trailer(data, id_);
    }
    // A trailer that points out of the file is none.
    if (trailer_ && trailer_->footer_offset > file.size() - kTrailerSize) trailer_.reset();
  }

  /// Goes on behind a mark, of which `index` is known.
  void begin_behind(RecordingIndex index, std::uint64_t offset) {
    result_.index = std::move(index);
    offset_ = offset;
  }

  ScanResult run() {
    while (offset_ < file_.size()) {
      if (trailer_ && offset_ == file_.size() - kTrailerSize) {
        check_trailer();
        return std::move(result_);
      }
      if (!step()) return std::move(result_);
    }
    if (result_.damage.empty() || result_.damage.back().kind != DamageKind::torn_tail) {
      note(DamageKind::unfinished, {},
           file_.name() + ": the recorder did not finish (no footer)" + usable_text());
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::uint64_t next_sequence() const { return result_.index.chunks.size(); }
  [[nodiscard]] Position usable_to() const { return result_.index.complete_before(kNever); }
  [[nodiscard]] std::string usable_text() const {
    return "; the recording is usable up to position " + grouped(usable_to().steps);
  }
  [[nodiscard]] std::string here() const {
    return chunk_place(file_.name(), next_sequence(), offset_);
  }

  void note(DamageKind kind, std::optional<std::uint64_t> sequence, std::string message) {
    result_.damage.push_back({kind, offset_, sequence, usable_to(), std::move(message)});
  }

  void check_trailer() {
    const auto& chunks = result_.index.chunks;
    const bool is_sound = trailer_->footer_sequence < chunks.size() &&
                          chunks[static_cast<std::size_t>(trailer_->footer_sequence)].offset ==
                              trailer_->footer_offset;
    if (!is_sound && result_.damage.empty()) {
      note(DamageKind::damaged_index, {},
           file_.name() + ": trailer at byte " + hex_offset(offset_) +
               ": the footer is not where it says" + loss_of(kFooter, usable_to()));
    }
  }

  /// Takes one chunk, or steps over damage. False at the end of what can be
  /// used.
  bool step() {
    std::array<std::uint8_t, kChunkHeaderSize> data{};
    if (file_.read(offset_, data) != data.size()) return lost("not a whole chunk header");
    const auto decoded = decode_chunk_header(data, id_);
    if (const auto* fault = std::get_if<ChunkFault>(&decoded)) return lost(fault->reason);
    const ChunkHeader& header = std::get<ChunkHeader>(decoded);
    const std::uint64_t left = file_.size() - offset_ - kChunkHeaderSize;
    if (header.stored_length > left) {
      return cut(std::to_string(header.stored_length) + " bytes are declared, " +
                 std::to_string(left) + " are left");
    }
    const std::uint64_t end = offset_ + kChunkHeaderSize + header.stored_length;
    if (header.sequence < next_sequence()) {
      note(DamageKind::damaged_chunk, header.sequence,
           here() + ": its sequence number is " + std::to_string(header.sequence) +
               ", a chunk that was there before; it is left out");
      offset_ = end;
      return true;
    }
    if (header.sequence > next_sequence() && !skip_to(header.sequence)) return false;
    take(header);
    offset_ = end;
    return true;
  }

  /// Chunks before `sequence` are missing without a trace in the bytes.
  bool skip_to(std::uint64_t sequence) {
    if (!fill_missing(sequence, 0)) {
      return cut("sequence number " + std::to_string(sequence) + " is out of range");
    }
    note(DamageKind::damaged_chunk, {},
         chunk_place(file_.name(), sequence, offset_) + ": chunks before it are missing" +
             loss_of(0, usable_to()));
    break_log();
    return true;
  }

  /// How many chunks up to `sequence` cannot have been in `bytes` bytes.
  [[nodiscard]] std::uint64_t unexplained(std::uint64_t sequence, std::uint64_t bytes) const {
    const std::uint64_t missing = sequence - next_sequence();
    const std::uint64_t explained = bytes / kChunkHeaderSize;
    return missing > explained ? missing - explained : 0;
  }

  /// Puts chunks that are not there into the table; false when they are too
  /// many to believe.
  bool fill_missing(std::uint64_t sequence, std::uint64_t bytes) {
    const std::uint64_t more = unexplained(sequence, bytes);
    if (more > kMissingChunks - missing_) return false;
    missing_ += more;
    result_.index.add_lost_chunks(sequence, offset_);
    return true;
  }

  void take(const ChunkHeader& header) {
    ChunkEntry entry{offset_, header.type, header.stored_length, header.raw_length, true};
    const std::uint64_t sequence = header.sequence;
    const std::string place = here();
    const bool critical = (header.type & kCriticalFlag) != 0;
    if (!is_known_type(header.type) && critical) throw unknown_critical(place, header.type);
    stored_.resize(header.stored_length);
    const std::size_t count = file_.read(offset_ + kChunkHeaderSize, stored_);
    const auto fault = check_payload(header, ByteView(stored_).first(count));
    const bool refused = (log_broken_ && follows_log(header.type)) ||
                         (checkpoints_broken_ && is_checkpoint_type(header.type));
    entry.usable = !fault && !refused;
    result_.index.add_chunk(entry);
    if (fault) return damaged(sequence, header.type, place + ": " + fault->reason);
    if (refused || !RecordingIndex::wants_payload(header.type)) return;
    const auto payload = decode_payload(header, stored_);
    if (const auto* bad = std::get_if<ChunkFault>(&payload)) {
      return damaged(sequence, header.type, place + ": " + bad->reason);
    }
    try {
      result_.index.add_payload(sequence, std::get<Bytes>(payload), place);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      damaged(sequence, header.type, error.what());
    }
  }

  void damaged(std::uint64_t sequence, std::uint32_t type, const std::string& message) {
    result_.index.chunks.in_memory(static_cast<std::size_t>(sequence)).usable = false;
    const bool is_index = is_footer(type);
    note(is_index ? DamageKind::damaged_index : DamageKind::damaged_chunk, sequence,
         message + loss_of(type, usable_to()));
    if (breaks_log(type)) break_log();
    if (is_checkpoint_type(type)) checkpoints_broken_ = true;
  }

  void break_log() {
    log_broken_ = true;
    checkpoints_broken_ = true;
  }

  /// No chunk header here: go on at the next sound one, if there is any.
  bool lost(const std::string& reason) {
    if (in_footer()) return lost_index(reason);
    const std::uint64_t end = trailer_ ? trailer_->footer_offset : file_.size();
    if (const auto found = search(offset_ + 1, end)) {
      note(DamageKind::damaged_chunk, next_sequence(),
           here() + ": " + reason + loss_of(0, usable_to()));
      fill_missing(found->sequence, found->offset - offset_);
      break_log();
      offset_ = found->offset;
      return true;
    }
    if (trailer_ && trailer_->footer_offset > offset_) {
      // The last chunk before a sound footer.
      note(DamageKind::damaged_chunk, next_sequence(),
           here() + ": " + reason + loss_of(0, usable_to()));
      break_log();
      if (trailer_->footer_sequence > next_sequence() &&
          fill_missing(trailer_->footer_sequence, trailer_->footer_offset - offset_)) {
        offset_ = trailer_->footer_offset;
        return true;
      }
      return false;
    }
    return cut(reason);
  }

  /// Whether only index lies from here to the end.
  [[nodiscard]] bool in_footer() const {
    if (trailer_) return offset_ >= trailer_->footer_offset;
    const auto& chunks = result_.index.chunks;
    return !chunks.empty() && is_footer(chunks.back().type);
  }

  bool lost_index(const std::string& reason) {
    note(DamageKind::damaged_index, {},
         file_.name() + ": footer at byte " + hex_offset(offset_) + ": " + reason +
             loss_of(kFooter, usable_to()));
    return false;
  }

  bool cut(const std::string& reason) {
    if (in_footer()) return lost_index(reason);
    note(DamageKind::torn_tail, next_sequence(),
         here() + ": " + reason + "; the tail of " + std::to_string(file_.size() - offset_) +
             " bytes is cut" + usable_text());
    return false;
  }

  struct Found {
    std::uint64_t offset = 0;
    std::uint64_t sequence = 0;
  };

  /// The next sound header in [from, end) of a chunk that can come after what
  /// was stepped over.
  std::optional<Found> search(std::uint64_t from, std::uint64_t end) const {
    // The next chunk is mostly near, so the windows start small.
    std::size_t width = 256;
    Bytes window;
    for (std::uint64_t base = from; base < end; base += width) {
      width = std::min(width * 2, kSearchWindow);
      window.resize(width + kChunkHeaderSize);
      const ByteView bytes = ByteView(window).first(file_.read(base, window));
      auto at = bytes.begin();
      for (;; ++at) {
        at = std::search(at, bytes.end(), kChunkMagic.begin(), kChunkMagic.end());
        const auto index = static_cast<std::size_t>(at - bytes.begin());
        if (index >= width || bytes.size() - index < kChunkHeaderSize) break;
        const auto decoded =
            decode_chunk_header(bytes.subspan(index).first<kChunkHeaderSize>(), id_);
        const auto* header = std::get_if<ChunkHeader>(&decoded);
        if (header == nullptr || header->sequence <= next_sequence()) continue;
        const std::uint64_t offset = base + index;
        if (unexplained(header->sequence, offset - offset_) <= kMissingChunks - missing_) {
          return Found{offset, header->sequence};
        }
      }
    }
    return {};
  }

  static constexpr std::uint32_t kFooter = static_cast<std::uint32_t>(ChunkType::footer);
  static bool is_footer(std::uint32_t type) {
    return type == kFooter || type == static_cast<std::uint32_t>(ChunkType::index_root);
  }

  const InputFile& file_;
  FileId id_;
  std::optional<Trailer> trailer_;
  ScanResult result_;
  Bytes stored_;
  std::uint64_t offset_ = kFileHeaderSize;
  std::uint64_t missing_ = 0;
  bool log_broken_ = false;
  bool checkpoints_broken_ = false;
};

}  // namespace

ScanResult scan_recording(const InputFile& file, const FileHeader& header) {
  return Scanner(file, header).run();
}

namespace {

/// The index that a mark at `offset` holds; nothing when there is none, or no sound one.
std::optional<RecordingIndex> mark_at(const InputFile& file, const FileHeader& header,
                                      std::uint64_t offset,
                                      const std::shared_ptr<IndexBlocks>& blocks,
                                      ChunkHeader& chunk) {
  std::array<std::uint8_t, kChunkHeaderSize> data{};
  if (file.read(offset, data) != data.size()) return std::nullopt;
  const auto decoded = decode_chunk_header(data, header.id);
  const auto* found = std::get_if<ChunkHeader>(&decoded);
  if (found == nullptr || found->type != static_cast<std::uint32_t>(ChunkType::index_mark) ||
      found->stored_length > file.size() - offset - kChunkHeaderSize) {
    return std::nullopt;
  }
  Bytes stored(found->stored_length);
  if (file.read(offset + kChunkHeaderSize, stored) != stored.size()) return std::nullopt;
  if (check_payload(*found, stored)) return std::nullopt;
  const auto payload = decode_payload(*found, stored);
  if (std::holds_alternative<ChunkFault>(payload)) return std::nullopt;
  chunk = *found;
  try {
    return RecordingIndex::decode_root(std::get<Bytes>(payload), {found->sequence, offset, 0, 0},
                                       blocks, chunk_place(file.name(), found->sequence, offset));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return std::nullopt;
  }
}

}  // namespace

std::optional<ScanResult> scan_tail(const InputFile& file, const FileHeader& header,
                                    const std::shared_ptr<IndexBlocks>& blocks) {
  Bytes window;
  std::uint64_t end = file.size();  // of what may begin a chunk's header
  const std::uint64_t stop = end - std::min(end, kMostMarkDistance);
  while (end > stop) {
    const std::uint64_t base = end - std::min<std::uint64_t>(end - stop, kTailWindow);
    window.resize(static_cast<std::size_t>(end - base) + kChunkMagic.size() - 1);
    const ByteView bytes = ByteView(window).first(file.read(base, window));
    auto to = bytes.end();
    while (true) {
      const auto at = std::find_end(bytes.begin(), to, kChunkMagic.begin(), kChunkMagic.end());
      if (at == to) break;
      const std::uint64_t offset = base + static_cast<std::uint64_t>(at - bytes.begin());
      ChunkHeader chunk;
      if (auto index = mark_at(file, header, offset, blocks, chunk)) {
        index->add_chunk({offset, chunk.type, chunk.stored_length, chunk.raw_length, true});
        Scanner scanner(file, header);
        scanner.begin_behind(std::move(*index), offset + kChunkHeaderSize + chunk.stored_length);
        return scanner.run();
      }
      to = at + static_cast<std::ptrdiff_t>(kChunkMagic.size()) - 1;
    }
    end = base;
  }
  return std::nullopt;
}

std::string chunk_place(const std::string& file_name, std::uint64_t sequence,
                        std::uint64_t offset) {
  return file_name + ": chunk " + std::to_string(sequence) + " at byte " + hex_offset(offset);
}

std::string loss_of(std::uint32_t type, Position usable_to) {
  if (type == static_cast<std::uint32_t>(ChunkType::metadata)) {
    return "; the recording cannot be used without its metadata";
  }
  if (breaks_log(type)) {
    return "; the recording is usable up to position " + grouped(usable_to.steps) +
           " (replay --to); images, console output and bookmarks after it are kept";
  }
  if (is_checkpoint_type(type)) {
    return "; its checkpoint and those after it cannot be used (replay from an earlier one or the "
           "start)";
  }
  if (is_image_type(type)) return "; the image it belongs to cannot be used";
  if (type == static_cast<std::uint32_t>(ChunkType::footer) ||
      type == static_cast<std::uint32_t>(ChunkType::index_root)) {
    return "; the index was rebuilt by scanning, nothing is lost";
  }
  if (type == static_cast<std::uint32_t>(ChunkType::index_block) ||
      type == static_cast<std::uint32_t>(ChunkType::index_mark)) {
    return "; it is a part of the index, nothing else is lost: chronovisor pack makes it again";
  }
  return "; what it holds (" + chunk_type_name(type) + ") is lost, replay is not affected";
}

Error unknown_critical(const std::string& place, std::uint32_t type) {
  return Error{ErrorCode::bad_input,
               place + ": " + chunk_type_name(type) +
                   " is critical and not known to this version; a newer chronovisor is needed"};
}

}  // namespace chronovisor
