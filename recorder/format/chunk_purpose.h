// Owns which part of a recording each kind of chunk belongs to. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "recorder/format/recording_index.h"

namespace chronovisor {

enum class ChunkPurpose : std::uint8_t {
  run,  ///< what happened, and what is said of it; also kinds that are not known
  image,
  disk,
  checkpoint,
  index,  ///< of what happened between checkpoints
};

/// @param type as it is stored
[[nodiscard]] ChunkPurpose chunk_purpose(std::uint32_t type);
/// What the chunks for a purpose take in the file, headers included.
[[nodiscard]] std::uint64_t bytes_for(const RecordingIndex& index, ChunkPurpose purpose);

}  // namespace chronovisor
