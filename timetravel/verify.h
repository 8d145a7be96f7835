// Owns the check of a recording's determinism: every recorded digest, and that
// each checkpoint describes the very state a replay arrives at. Intervals can
// be checked in parallel. Knows no terminal. Call from one thread; it starts
// its own.
#pragma once

#include <functional>
#include <optional>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "timetravel/replay.h"
#include "timetravel/shard.h"

namespace chronovisor {

/// The state in which a recorder stopped, as the recording says.
struct RecordedEndState {
  std::uint64_t idle_ns = 0;  ///< waited in all
  Hash128 digest;
};

struct VerifyOptions {
  /// Begin at the last checkpoint at or before this position; nothing: boot
  /// from the images.
  std::optional<Position> from{};
  Position to{kNever};
  /// 1: one replay from beginning to end. More: stretches between checkpoints
  /// are replayed side by side, each restored from the checkpoint it begins at;
  /// the first one boots. Who is done takes over half of what another has before it.
  unsigned jobs = 1;
  /// With more than one: of the stretches that all the shards make, every Nth.
  Shard shard{};
  /// A stretch of which fewer steps are left is not divided: they take less time than
  /// another machine takes to be there.
  std::uint64_t least_divided_steps = std::uint64_t{1} << 27;
  CancelToken cancel{};
  /// Compared where the recording ends within a position, whose arrival no digest is of.
  std::optional<RecordedEndState> end_state{};
  std::optional<Tamper> tamper{};
  /// As in ReplayOptions; called with each machine, from the thread that runs it.
  std::function<void(Machine&)> prepare{};
};

struct VerifyOutcome {
  Position from;
  Position to;
  /// Of the state at `to`; of the one in which the recorder stopped where that is known.
  Hash128 digest;
  bool has_end = false;  ///< `digest` is known: the last stretch was checked
  std::uint64_t digests_checked = 0;
  std::uint64_t checkpoints_checked = 0;  ///< whole checkpoints compared with the replay
  std::uint64_t stretches = 0;
  bool interrupted = false;  ///< then everything up to `to` is sound
};

/// Throws DivergenceError at the earliest difference, Error{bad_input} when
/// the recording cannot be used. `progress` is told how many steps of how many
/// are done, from the calling thread.
[[nodiscard]] VerifyOutcome verify_recording(
    const RecordingReader& reader, const VerifyOptions& options,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress);

}  // namespace chronovisor
