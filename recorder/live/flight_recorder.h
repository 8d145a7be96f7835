// Owns a recording of which only the last stretch is kept: writes it in
// segments, each an ordinary recording that starts at a checkpoint, throws old
// segments away whole, and joins what is left at the end. Knows no machine.
// One thread.
//
// On disk there are at most the present segment, at the path of the recording,
// and the one before it, at PATH.older; for the moment in which a segment is
// begun, PATH.new. At every instant each of them opens by itself, and the file
// at PATH holds the latest of the run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "recorder/format/file.h"
#include "recorder/format/recording_writer.h"
#include "recorder/live/segmented_tape.h"

namespace chronovisor {

/// How much of a run is kept.
struct KeepPolicy {
  enum class Unit : std::uint8_t { virtual_time, wall_time, bytes };
  Unit unit = Unit::virtual_time;
  std::uint64_t amount = 0;  ///< ns, or bytes
};

class FlightRecorder final : public SegmentedTape {
 public:
  /// What follows the recording's path in the names of the other segments.
  static constexpr const char* kOlderSuffix = ".older";
  static constexpr const char* kNewSuffix = ".new";

  /// Begins writing at `path`, replacing what an earlier run left there.
  /// `begin` is called with the first segment's writer, to embed images; later
  /// segments start at checkpoints and need none. Throws Error{host}.
  FlightRecorder(std::string path, std::string metadata_json, const WriterOptions& options,
                 const KeepPolicy& keep, const TapeCounter& start,
                 const std::function<void(RecordingWriter&)>& begin);
  ~FlightRecorder() override;
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  [[nodiscard]] RecordingWriter& writer() override { return *writer_; }
  /// Whether the present segment is long enough for the next to begin. Time: a
  /// segment is as long as what is to be kept. Bytes: half of it.
  [[nodiscard]] bool is_due(const TapeCounter& here) const override;
  RecordingWriter& begin_segment(const TapeCounter& here) override;
  /// The one before the last is removed.
  void commit_segment() override;
  /// Ends the recording: one file at the path, which starts at power-on or at
  /// the last checkpoint that leaves all that was to be kept.
  void finish(std::string_view summary_json, const TapeCounter& here) override;

  [[nodiscard]] std::uint64_t disk_bytes() const override {
    return older_bytes_ + writer_->file_bytes();
  }
  /// Bytes of the segment before the present one; 0: there is none.
  [[nodiscard]] std::uint64_t ended_bytes() const { return older_bytes_; }
  [[nodiscard]] std::uint64_t segments() const { return segments_; }

 private:
  [[nodiscard]] std::string older_path() const { return path_ + kOlderSuffix; }
  [[nodiscard]] std::string new_path() const { return path_ + kNewSuffix; }
  void join(std::string_view summary_json, const TapeCounter& here);

  std::string path_;
  std::string metadata_json_;
  WriterOptions options_;
  KeepPolicy keep_;
  std::unique_ptr<RecordingWriter> writer_;
  TapeCounter segment_start_;
  std::uint64_t segment_first_bytes_ = 0;  ///< after its first checkpoint
  std::uint64_t older_bytes_ = 0;
  std::uint64_t segments_ = 1;
};

}  // namespace chronovisor
