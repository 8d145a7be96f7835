// Owns the search for the first step after which two replays differ: both are
// run side by side, again and again from where each began, and compared at
// ever closer positions. Knows recordings, no terminal. One thread.
//
// The replays are run again rather than restored in between, so that a cause
// that no state shows (a stale translation, say) stays in place.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "timetravel/replay.h"
#include "timetravel/state_difference.h"

namespace chronovisor {

/// An instruction as it stands in a machine, for people.
struct CodePoint {
  std::uint64_t rip = 0;
  std::uint64_t linear = 0;
  unsigned bits = 64;  ///< 16, 32 or 64: how the bytes decode
  Bytes bytes;         ///< up to 15; fewer where memory is not mapped
};

/// What the CPU of `machine` executes next.
[[nodiscard]] CodePoint code_point(Machine& machine);

/// One of two replays that are compared.
struct ReplaySide {
  const RecordingReader& reader;
  std::optional<Position> from;
  std::optional<Tamper> tamper;
  /// Where such a replay begins.
  [[nodiscard]] Position base() const;
};

struct SearchControl {
  CancelToken cancel{};
  /// Called now and then with where the search is.
  std::function<void(Position)> progress = [](Position) {};
};

/// Two replays stop being equal between two neighbouring positions.
struct FirstDifference {
  Position last_equal;          ///< equal on arrival here ...
  Position first_different;     ///< ... and different on arrival here, one step on
  bool from_the_start = false;  ///< different already where the search began
  CodePoint step;               ///< what both executed at last_equal
  StateDifference difference;
  std::string left_trouble;  ///< why this side could not arrive; empty: it did
  std::string right_trouble;
};

enum class SearchStride {
  even,     ///< the difference may be anywhere
  growing,  ///< it is likely to be near the beginning
};

/// Looks in (from, to] for the first position where the two differ; they are
/// compared at `from` first. Nothing when they are equal at all positions
/// looked at. Throws Error{host} when cancelled, Error{bad_input} when a
/// recording cannot be used.
[[nodiscard]] std::optional<FirstDifference> find_first_difference(const ReplaySide& left,
                                                                   const ReplaySide& right,
                                                                   Position from, Position to,
                                                                   SearchStride stride,
                                                                   const SearchControl& control);

}  // namespace chronovisor
