// Owns the explanation of a replay that does not match its recording: the first
// differing step where both sides can be run again, otherwise the first
// interval, and every register, device field and page that differs. Knows no
// terminal and no disassembler. One thread.
#pragma once

#include <optional>
#include <string>

#include "timetravel/lockstep.h"
#include "timetravel/replay.h"
#include "timetravel/state_difference.h"

namespace chronovisor {

struct Divergence {
  Position noticed;               ///< where the recorded digest did not match
  Position last_equal;            ///< the states are equal on arrival here
  Position first_different;       ///< and differ on arrival here
  bool exact = false;             ///< these two are one step apart
  bool recurred = true;           ///< false: run again, the replay matched the recording
  std::optional<CodePoint> code;  ///< exact: the step at last_equal; else where the replay stands
  StateDifference difference;     ///< left: the replay, right: the recording
  bool state_compared = false;    ///< `difference` is filled in
  Position compared_at;           ///< where
  std::string explanation;        ///< how this was found and what it means, for people
};

/// Explains why a replay made as `how` says (its `from` and `tamper`) does not
/// have the recorded state at `noticed`. Runs it again, up to a few times.
/// Throws Error{host} when cancelled, Error{bad_input} when the recording
/// cannot be read.
[[nodiscard]] Divergence explain_divergence(const RecordingReader& reader, const ReplayOptions& how,
                                            Position noticed, const SearchControl& control);

}  // namespace chronovisor
