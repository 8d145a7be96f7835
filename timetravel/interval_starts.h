// Owns the places that searches of a whole recording are split at: its start, and each
// checkpoint before its end. Nothing is listed: they may be a million. Any thread.
#pragma once

#include <algorithm>
#include <cstddef>

#include "recorder/format/recording_reader.h"

namespace chronovisor {

class IntervalStarts {
 public:
  /// The reader must outlive this.
  explicit IntervalStarts(const RecordingReader& reader) : reader_(reader) {
    if (reader.start() >= reader.usable_to()) return;
    // The start counts, whether there is a checkpoint at it or not.
    first_ = count([&](Position position) { return position <= reader_.start(); });
    size_ = 1 + count([&](Position position) { return position < reader_.usable_to(); }) - first_;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Position operator[](std::size_t n) const {
    return n == 0 ? reader_.start() : reader_.checkpoints()[first_ + n - 1].position;
  }
  /// Where the interval that begins there ends.
  [[nodiscard]] Position end_of(std::size_t n) const {
    return n + 1 < size_ ? (*this)[n + 1] : reader_.usable_to();
  }
  /// The last one at or before `position`, which is not before the start.
  [[nodiscard]] std::size_t up_to(Position position) const {
    const std::size_t before = count([&](Position checkpoint) { return checkpoint <= position; });
    return std::min(std::max(before, first_) - first_, size_ - 1);
  }

 private:
  /// How many checkpoints have what the first ones have.
  template <class Predicate>
  [[nodiscard]] std::size_t count(const Predicate& predicate) const {
    const IndexTable<CheckpointInfo>& all = reader_.checkpoints();
    const auto after =
        std::partition_point(all.begin(), all.end(),
                             [&](const CheckpointInfo& info) { return predicate(info.position); });
    return static_cast<std::size_t>(after - all.begin());
  }

  const RecordingReader& reader_;
  std::size_t first_ = 0;  ///< checkpoint after the start
  std::size_t size_ = 0;
};

}  // namespace chronovisor
