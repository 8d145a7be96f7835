// Owns the straight replay of a recording, from its start or a checkpoint, with
// every recorded digest compared. Knows no terminal. One thread.
#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "recorder/recording_reader.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct ReplayOptions {
  /// Begin at the last checkpoint at or before this position; nothing: boot
  /// from the images, without using any checkpoint.
  std::optional<Position> from;
  Position to{kNever};
  bool verify = true;
  MachineObserver* observer = nullptr;
  const std::atomic<bool>* cancel = nullptr;
};

struct ReplayOutcome {
  Position position;
  Hash128 digest;
  std::uint64_t digests_checked = 0;
};

/// Throws Error{divergence} at the first digest that differs, Error{bad_input}
/// when the recording cannot be used.
ReplayOutcome replay_recording(const RecordingReader& reader, const ReplayOptions& options,
                               const std::function<void(Position)>& progress);

}  // namespace chronovisor
