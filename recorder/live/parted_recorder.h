// Owns a recording that is written in parts of a chosen size, all of which are kept
// (recorder/format/recording_part.h): begins the next when one is full, and thins the
// checkpoints of old ones as the recording grows. Knows no machine. One thread, and one
// inside it for the thinning.
//
// On disk every part is a recording by itself. A kill leaves the parts that were finished,
// and the last one as any recording that was cut off.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "recorder/format/recording_writer.h"
#include "recorder/live/part_thinner.h"
#include "recorder/live/segmented_tape.h"

namespace chronovisor {

struct PartPlan {
  /// A part of so many bytes is full, if it is twice as long as its first checkpoint.
  std::uint64_t part_bytes = 0;
  /// And no sooner, so that a size too small for the guest does not make a part of every
  /// moment.
  std::uint64_t least_steps = 1'000'000;
  /// Of old parts every so many checkpoints one stays at last; 1: all stay.
  std::uint64_t most_thinned = 1;
};

class PartedRecorder final : public SegmentedTape {
 public:
  /// Begins writing at `path`, replacing what an earlier run left there and beside it.
  /// `begin` is called with the first part's writer, to embed images. Throws Error{host}.
  PartedRecorder(std::string path, std::string metadata_json, const WriterOptions& options,
                 const PartPlan& plan, const TapeCounter& start,
                 const std::function<void(RecordingWriter&)>& begin);

  [[nodiscard]] RecordingWriter& writer() override { return *writer_; }
  [[nodiscard]] bool is_due(const TapeCounter& here) const override;
  RecordingWriter& begin_segment(const TapeCounter& here) override;
  void commit_segment() override;
  void finish(std::string_view summary_json, const TapeCounter& here) override;
  /// As written; what thinning saved is not counted.
  [[nodiscard]] std::uint64_t disk_bytes() const override {
    return ended_bytes_ + writer_->file_bytes();
  }
  [[nodiscard]] std::uint64_t parts() const { return number_; }
  /// What the present part has at least before the next begins, if that is more than was
  /// asked for: it begins with the guest's whole memory.
  [[nodiscard]] std::optional<std::uint64_t> larger_than_asked() const {
    return number_ > 1 && least_bytes_ > plan_.part_bytes ? std::optional(least_bytes_)
                                                          : std::nullopt;
  }
  /// Waits until the parts that are old enough are thinned.
  void wait_for_thinning() { thinner_.wait(); }

 private:
  [[nodiscard]] std::unique_ptr<RecordingWriter> new_part(const FileId& id);
  void thin_old_parts();

  std::string path_;
  std::string metadata_json_;
  WriterOptions options_;
  PartPlan plan_;
  std::unique_ptr<RecordingWriter> writer_;
  PartThinner thinner_;
  FileId run_;
  std::uint64_t number_ = 1;  ///< of the present part
  Position part_start_;
  std::uint64_t least_bytes_ = 0;  ///< with fewer the present part is not full
  std::uint64_t ended_bytes_ = 0;
};

}  // namespace chronovisor
