#include "timetravel/recorded_digests.h"

#include <algorithm>

namespace chronovisor {

RecordedDigests::Chunk RecordedDigests::chunk(std::size_t number) const {
  {
    const std::lock_guard lock(mutex_);
    const auto known = std::find_if(recent_.begin(), recent_.end(),
                                    [&](const auto& entry) { return entry.first == number; });
    if (known != recent_.end()) {
      recent_.splice(recent_.begin(), recent_, known);
      return known->second;
    }
  }
  auto read = std::make_shared<const std::vector<DigestRecord>>(reader_.read_digests(number));
  const std::lock_guard lock(mutex_);
  recent_.emplace_front(number, read);
  if (recent_.size() > kMostChunks) recent_.pop_back();
  return read;
}

/// The first chunk from `number` on in which there are any, and its number; null behind all.
std::pair<RecordedDigests::Chunk, std::size_t> RecordedDigests::non_empty_from(
    std::size_t number) const {
  for (; number < reader_.digest_chunks(); ++number) {
    Chunk some = chunk(number);
    if (!some->empty()) return {std::move(some), number};
  }
  return {nullptr, number};
}

/// Chunks before this number begin at `position` or before it.
std::size_t RecordedDigests::chunks_begun_at(Position position) const {
  std::size_t low = 0;
  std::size_t high = reader_.digest_chunks();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const auto [some, number] = non_empty_from(middle);
    if (some != nullptr && some->front().position <= position) {
      low = number + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::optional<Hash128> RecordedDigests::at(Position position) const {
  if (const auto checkpoint = reader_.checkpoint_before(position)) {
    const CheckpointInfo info = reader_.checkpoints()[*checkpoint];
    if (info.position == position) return info.digest;
  }
  const std::size_t begun = chunks_begun_at(position);
  if (begun == 0) return std::nullopt;
  const Chunk last = chunk(begun - 1);
  const auto after =
      std::partition_point(last->begin(), last->end(),
                           [&](const DigestRecord& record) { return record.position <= position; });
  if (after == last->begin() || std::prev(after)->position != position) return std::nullopt;
  return std::prev(after)->digest;
}

std::optional<Position> RecordedDigests::next_after(Position position) const {
  {
    const std::lock_guard lock(mutex_);
    if (gap_ && position >= gap_->first && position < gap_->second) return gap_->second;
  }
  const std::optional<Position> next = look_after(position);
  if (next) {
    const std::lock_guard lock(mutex_);
    gap_ = {position, *next};
  }
  return next;
}

std::optional<Position> RecordedDigests::look_after(Position position) const {
  std::optional<Position> next;
  const auto found = [&](Position there) { next = next ? std::min(*next, there) : there; };
  const IndexTable<CheckpointInfo>& checkpoints = reader_.checkpoints();
  const auto checkpoint =
      std::partition_point(checkpoints.begin(), checkpoints.end(),
                           [&](const CheckpointInfo& info) { return info.position <= position; });
  if (checkpoint != checkpoints.end()) found(checkpoint->position);
  const std::size_t begun = chunks_begun_at(position);
  if (begun != 0) {
    const Chunk last = chunk(begun - 1);
    const auto after = std::partition_point(
        last->begin(), last->end(),
        [&](const DigestRecord& record) { return record.position <= position; });
    if (after != last->end()) found(after->position);
  }
  if (const auto [some, number] = non_empty_from(begun); some != nullptr) {
    found(some->front().position);
  }
  return next;
}

}  // namespace chronovisor
