// Owns saying what made a recording large: which stretches of the run, and which ranges of
// the guest's memory. Reads every checkpoint's page map. Knows no machine. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/units.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// What is kept of a range of guest memory.
struct RangeCost {
  std::uint64_t first_page = 0;
  std::uint64_t contents = 0;  ///< kept of its pages, by all checkpoints
  std::uint64_t bytes = 0;     ///< of the file, about: those of a checkpoint are shared out
};

/// What a checkpoint added to the file.
struct CheckpointCost {
  std::size_t checkpoint = 0;
  std::uint64_t contents = 0;
  std::uint64_t bytes = 0;
};

struct RecordingCost {
  static constexpr std::uint64_t kRangePages = 4096;  ///< 16 MiB
  std::vector<RangeCost> ranges;                      ///< the largest first
  std::vector<CheckpointCost> checkpoints;            ///< the largest first
};

/// The pages of which a checkpoint keeps contents that no earlier one does.
struct KeptPages {
  std::size_t checkpoint = 0;
  std::uint64_t bytes = 0;           ///< of the file, all of the checkpoint
  std::vector<std::uint64_t> pages;  ///< ascending
};
/// Shows all checkpoints in order. Throws Error{bad_input} on damage.
void for_each_kept(const RecordingReader& reader,
                   const std::function<void(const KeptPages&)>& visit);

/// Throws Error{bad_input} on damage.
[[nodiscard]] RecordingCost cost_of(const RecordingReader& reader);

}  // namespace chronovisor
