// Owns the shape of a recording that is written in segments, each a file of its own that
// begins at a checkpoint: the run's recorder asks when the next is due and begins it. Knows
// no machine. One thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor {

/// Where a run is, on all its clocks.
struct TapeCounter {
  Position position;
  std::uint64_t virtual_ns = 0;
  std::uint64_t wall_ns = 0;  ///< monotonic
};

class SegmentedTape {
 public:
  virtual ~SegmentedTape() = default;
  /// The writer of the present segment.
  [[nodiscard]] virtual RecordingWriter& writer() = 0;
  /// Whether the present segment is long enough for the next to begin.
  [[nodiscard]] virtual bool is_due(const TapeCounter& here) const = 0;
  /// Ends the present segment at `here`, where the run has just arrived, and
  /// begins the next. Its first record must be a checkpoint at `here`; then call
  /// commit_segment.
  virtual RecordingWriter& begin_segment(const TapeCounter& here) = 0;
  /// The new segment stands on its own.
  virtual void commit_segment() = 0;
  /// Ends the recording. Throws Error{host}.
  virtual void finish(std::string_view summary_json, const TapeCounter& here) = 0;
  /// Bytes in all files there are.
  [[nodiscard]] virtual std::uint64_t disk_bytes() const = 0;
};

}  // namespace chronovisor
