// Owns looking up the digests that a recording has, its checkpoints' and the others, a chunk
// at a time: what was read lately is kept, and no more. Knows no machine. Any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "recorder/format/recording_reader.h"

namespace chronovisor {

class RecordedDigests {
 public:
  /// The reader must outlive this.
  explicit RecordedDigests(const RecordingReader& reader) : reader_(reader) {}

  /// The digest at `position`; where several were taken, a checkpoint's. Throws
  /// Error{bad_input} on damage, as the other does.
  [[nodiscard]] std::optional<Hash128> at(Position position) const;
  /// The first position after `position` that has one.
  [[nodiscard]] std::optional<Position> next_after(Position position) const;

 private:
  using Chunk = std::shared_ptr<const std::vector<DigestRecord>>;
  static constexpr std::size_t kMostChunks = 64;

  [[nodiscard]] Chunk chunk(std::size_t number) const;
  [[nodiscard]] std::pair<Chunk, std::size_t> non_empty_from(std::size_t number) const;
  [[nodiscard]] std::size_t chunks_begun_at(Position position) const;
  [[nodiscard]] std::optional<Position> look_after(Position position) const;

  const RecordingReader& reader_;
  mutable std::mutex mutex_;
  mutable std::list<std::pair<std::size_t, Chunk>> recent_;  ///< the latest in front
  /// What was asked last: from here on to there nothing has one.
  mutable std::optional<std::pair<Position, Position>> gap_;
};

}  // namespace chronovisor
