// Owns one opened file of a recording, which is all of it or a part: finds what is in it
// through the footer, or by a scan where the footer is missing or damaged, and reads its
// chunks. Must not know what they mean beyond the index. After construction const
// members are safe from any thread at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_index.h"
#include "recorder/format/recording_part.h"
#include "recorder/format/scan.h"

namespace chronovisor {

class RecordingFile {
 public:
  /// @param index_bytes of blocks of the index that are kept decoded
  /// @param rescan does without the index in the file
  /// Throws Error{bad_input} when the file cannot be used at all.
  RecordingFile(std::shared_ptr<const InputFile> file, std::size_t index_bytes, bool rescan);
  RecordingFile(const RecordingFile&) = delete;
  RecordingFile& operator=(const RecordingFile&) = delete;

  [[nodiscard]] const std::string& name() const { return file_->name(); }
  [[nodiscard]] std::uint64_t size_bytes() const { return file_->size(); }
  [[nodiscard]] const FileHeader& header() const { return header_; }
  [[nodiscard]] const RecordingIndex& index() const { return index_; }
  [[nodiscard]] IndexBlocks& blocks() const { return *blocks_; }
  [[nodiscard]] const std::vector<Damage>& damage() const { return damage_; }
  /// Where its inputs are complete up to.
  [[nodiscard]] Position usable_to() const { return index_.complete_before(kNever); }
  /// Reads and checks every byte.
  [[nodiscard]] std::vector<Damage> scan() const;

  /// What it says of itself as a part; nothing: it is all of a recording.
  [[nodiscard]] std::optional<PartNote> part() const;
  /// Finds out for every checkpoint how many pages the directories of those before it list,
  /// where the index does not say it, and returns how many all list; before other threads
  /// know the file. Throws Error{bad_input}.
  std::uint64_t number_pages();
  /// Whether another part follows by what it says.
  [[nodiscard]] bool goes_on() const;

  /// The payload of a chunk, by its number in this file. Throws Error{bad_input}, also when
  /// it is of another type.
  [[nodiscard]] Bytes read_chunk(std::uint64_t sequence, ChunkType type) const;
  /// The content of a stream of chunks of one type. Throws Error{bad_input}; `what` is what
  /// messages call it.
  [[nodiscard]] Bytes read_stream(const StreamRef& stream, ChunkType type, const char* what) const;
  /// What messages call a chunk.
  [[nodiscard]] std::string place(std::uint64_t sequence) const;
  /// Throws Error{bad_input} that says what is wrong with a chunk, and what that costs.
  [[noreturn]] void fail(std::uint64_t sequence, const std::string& reason) const;

 private:
  std::optional<std::string> open_by_footer();
  void note_recorder_at_work();
  [[nodiscard]] Bytes read_footer(const Trailer& trailer, const std::string& what,
                                  ChunkType& type) const;

  std::shared_ptr<const InputFile> file_;
  FileHeader header_;
  std::shared_ptr<IndexBlocks> blocks_;
  RecordingIndex index_;
  std::vector<Damage> damage_;
};

}  // namespace chronovisor
