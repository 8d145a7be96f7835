// Owns the comparison of two recordings: where their starting conditions
// differ, where their inputs first differ, and where the states of their
// machines first differ. Knows no terminal. One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "recorder/format/recording_reader.h"
#include "timetravel/divergence.h"
#include "timetravel/lockstep.h"

namespace chronovisor {

/// One difference of the starting conditions.
struct StartDifference {
  std::string what;  ///< "machine.memory_bytes", "image kernel" ...
  std::string left;
  std::string right;
};

/// The first input that is not the same on both sides; one may be missing.
struct InputDifference {
  std::uint64_t index = 0;  ///< inputs before it are equal
  Position position;        ///< the earlier of the two
  std::optional<InputEvent> left;
  std::optional<InputEvent> right;
};

struct RecordingDifference {
  std::vector<StartDifference> start;
  std::optional<InputDifference> input;
  std::uint64_t equal_inputs = 0;
  Position left_end;
  Position right_end;
  Position compared_to;  ///< both recordings reach up to here
  /// The first position where both have a digest and these differ.
  std::optional<Position> recorded_digest;
  std::uint64_t equal_digests = 0;
  /// Where the states first differ when both are run again. `left` of its
  /// state difference is the left recording.
  std::optional<Divergence> state;
  [[nodiscard]] bool same() const {
    return start.empty() && !input && !recorded_digest && !state && left_end == right_end;
  }
};

/// Throws Error{bad_input} when a recording cannot be used, Error{host} when
/// cancelled.
[[nodiscard]] RecordingDifference compare_recordings(const RecordingReader& left,
                                                     const RecordingReader& right,
                                                     const SearchControl& control);

}  // namespace chronovisor
