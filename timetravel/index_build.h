// Owns making the interval index of a finished recording where it is missing or
// cannot be read, by running those intervals again, side by side. Writes
// nothing. Knows no terminal. Call from one thread; it starts its own.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/cancel.h"
#include "recorder/edit/index_edit.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// What of a recording is indexed; an interval goes from a checkpoint to the
/// next, or to the end.
struct IndexState {
  std::size_t intervals = 0;         ///< there could be
  std::size_t damaged = 0;           ///< stored indexes that cannot be read
  std::vector<std::size_t> missing;  ///< checkpoints whose interval is not indexed throughout
  std::uint64_t steps = 0;           ///< of all intervals
  std::uint64_t missing_steps = 0;   ///< of those missing
};

/// Reads every stored index.
[[nodiscard]] IndexState index_state(const RecordingReader& reader);

struct BuiltIndex {
  std::vector<NewInterval> intervals;  ///< in order; all that were finished
  bool cancelled = false;
};

/// Builds what is missing. `progress` is told how many steps of how many are
/// behind, from the calling thread. Throws Error{bad_input} when the recording
/// cannot be used, Error{divergence} when a replay does not arrive.
[[nodiscard]] BuiltIndex build_index(
    const RecordingReader& reader, const IndexState& state, unsigned jobs, CancelToken cancel,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

}  // namespace chronovisor
