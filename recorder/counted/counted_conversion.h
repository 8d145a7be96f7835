// Owns turning a recording whose events have counted places into one with
// positions: the soft processor counts its way from event to event, and the run
// is recorded again with the positions found. Knows no terminal and no path. One
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/cancel.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "recorder/live/run_recorder.h"

namespace chronovisor {

struct ConversionOptions {
  WriterOptions writer;
  RecorderOptions recorder;
  /// Monotonic host time.
  std::function<std::uint64_t()> clock_ns;
  /// Told of the events found so far and of how many positions are behind; then,
  /// with the position of the end, of the recording that is written.
  std::function<void(std::uint64_t events, Position here)> counting;
  std::function<void(Position here, Position end)> writing;
  /// The summary of the result.
  std::function<std::string(const RunOutcome&, const Machine&)> summary;
  /// Becomes true: Error{host}. May be null.
  CancelToken cancel{};
};

struct ConversionResult {
  std::uint64_t events = 0;
  RunOutcome outcome;  ///< of the run, now that it has positions
};

/// Writes the run in `reader`, which has counted places, to `file` as an ordinary
/// recording with a new id: inputs, checkpoints, digests, console output, index and
/// bookmarks, as if it had been recorded so. Throws Error{divergence} when an
/// event's place is never met, Error{bad_input} when the recording cannot be used,
/// Error{host}; what is in `file` is of no use then.
ConversionResult convert_counted(const RecordingReader& reader, std::unique_ptr<OutputFile> file,
                                 const ConversionOptions& options);

}  // namespace chronovisor
