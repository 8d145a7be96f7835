#include "timetravel/checkpoint_store.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

/// Checkpoints in memory, whatever their size.
constexpr std::size_t kMostSnapshots = 1024;
/// So many maps of recorded checkpoints are kept whatever their size.
constexpr std::size_t kLeastRecordedMaps = 8;
/// Every so many of them go after the others.
constexpr std::size_t kSteadyMaps = 64;

std::uint64_t bytes_of(const Snapshot& snapshot) {
  std::uint64_t bytes =
      1024 + snapshot.pages.page_count() / PageMap::kBranchPages * sizeof(void*) * 2;
  for (const Section& section : snapshot.sections) bytes += section.bytes.capacity() + 64;
  return bytes;
}

}  // namespace

CheckpointStore::CheckpointStore(const RecordingReader& reader, std::uint64_t page_count,
                                 std::uint64_t budget_bytes)
    : reader_(reader),
      page_count_(page_count),
      budget_bytes_(budget_bytes),
      account_(std::make_shared<std::atomic<std::uint64_t>>(0)),
      recorded_account_(std::make_shared<std::atomic<std::uint64_t>>(0)) {}

std::optional<Base> CheckpointStore::latest(Position at_most) const {
  std::optional<Base> best;
  if (const auto recorded = reader_.checkpoint_before(at_most)) {
    best = Base{reader_.checkpoints()[*recorded].position, recorded, nullptr};
  }
  auto snapshot = snapshots_.upper_bound(at_most);
  if (snapshot != snapshots_.begin()) {
    --snapshot;
    if (!best || snapshot->first >= best->position) {
      best = Base{snapshot->first, std::nullopt, snapshot->second};
    }
  }
  return best;
}

std::optional<Position> CheckpointStore::next_after(Position position) const {
  std::optional<Position> next;
  const auto snapshot = snapshots_.upper_bound(position);
  if (snapshot != snapshots_.end()) next = snapshot->first;
  const auto& checkpoints = reader_.checkpoints();
  const auto after =
      std::partition_point(checkpoints.begin(), checkpoints.end(),
                           [&](const CheckpointInfo& info) { return info.position <= position; });
  if (after != checkpoints.end() && (!next || after->position < *next)) next = after->position;
  return next;
}

void CheckpointStore::apply_delta(PageMap& map, std::size_t checkpoint) const {
  for (const PageRecord& page : reader_.page_delta(checkpoint)) {
    if (page.page >= page_count_) {
      const Position position = reader_.checkpoints()[checkpoint].position;
      throw Error(ErrorCode::bad_input,
                  reader_.name() + ": the checkpoint at position " + grouped(position.steps) +
                      " has page " + std::to_string(page.page) + ", outside the machine's memory");
    }
    map.set_recorded(page.page, page.content, page.place);
  }
}

PageMap CheckpointStore::recorded_map(std::size_t checkpoint) const {
  const std::lock_guard lock(maps_mutex_);
  // From the nearest map along the chain of parents that is there.
  std::vector<std::size_t> chain;
  std::optional<std::size_t> at = checkpoint;
  while (at && !recorded_maps_.contains(*at)) {
    chain.push_back(*at);
    const auto& parent = reader_.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  PageMap map(page_count_, Machine::zero_page_hash(), recorded_account_);
  if (at) {
    RecordedMap& known = recorded_maps_.at(*at);
    known.used = ++uses_;
    map = known.map;
  }
  for (auto next = chain.rbegin(); next != chain.rend(); ++next) {
    apply_delta(map, *next);
    keep_recorded(*next, map);
  }
  return map;
}

/// Keeps a map and lets those go that were not used for longest; of old recordings, whose
/// chains of parents are as long as they are, some go last.
void CheckpointStore::keep_recorded(std::size_t checkpoint, const PageMap& map) const {
  recorded_maps_.insert_or_assign(checkpoint, RecordedMap{map, ++uses_});
  while (recorded_maps_.size() > kLeastRecordedMaps &&
         recorded_account_->load(std::memory_order_relaxed) > recorded_budget()) {
    const auto rank = [](const auto& entry) {
      return std::pair(entry.first % kSteadyMaps == 0, entry.second.used);
    };
    recorded_maps_.erase(std::min_element(
        recorded_maps_.begin(), recorded_maps_.end(),
        [&](const auto& left, const auto& right) { return rank(left) < rank(right); }));
  }
}

PageMap CheckpointStore::map_of(const Base& base) const {
  return base.snapshot ? base.snapshot->pages : recorded_map(base.recorded.value());
}

std::vector<Section> CheckpointStore::sections_of(const Base& base) const {
  return base.snapshot ? base.snapshot->sections : reader_.load_sections(base.recorded.value());
}

void CheckpointStore::read_page(const PageMap& map, std::uint64_t page,
                                std::span<std::uint8_t, kPageSize> out) const {
  if (const PageMap::Bytes bytes = map.bytes(page)) {
    std::copy(bytes->begin(), bytes->end(), out.begin());
  } else {
    reader_.read_page(map.content(page), out, map.place(page));
  }
}

void CheckpointStore::add(Position position, Snapshot snapshot) {
  account_->fetch_add(bytes_of(snapshot), std::memory_order_relaxed);
  const auto free = [account = account_](const Snapshot* dead) {
    account->fetch_sub(bytes_of(*dead), std::memory_order_relaxed);
    delete dead;
  };
  snapshots_[position] = std::shared_ptr<const Snapshot>(new Snapshot(std::move(snapshot)), free);
  keep_within_budget(position);
}

/// The checkpoint whose loss makes the least difference, relative to how far
/// it is from here, goes first. A start that is not in the recording stays.
void CheckpointStore::keep_within_budget(Position here) {
  const auto first_recorded =
      reader_.checkpoints().empty() ? Position{kNever} : reader_.checkpoints().front().position;
  while (snapshots_.size() > kMostSnapshots || bytes_used() > budget_bytes_ ||
         snapshot_bytes() > budget_bytes_ - recorded_budget()) {
    auto victim = snapshots_.end();
    double least = 0;
    for (auto it = snapshots_.begin(); it != snapshots_.end(); ++it) {
      if (it->first == here || (it == snapshots_.begin() && it->first < first_recorded)) continue;
      const std::uint64_t before =
          it == snapshots_.begin() ? first_recorded.steps : std::prev(it)->first.steps;
      const std::uint64_t after = std::next(it) == snapshots_.end() ? it->first.steps + (1ULL << 26)
                                                                    : std::next(it)->first.steps;
      const std::uint64_t away =
          it->first < here ? here.steps - it->first.steps : it->first.steps - here.steps;
      const double worth =
          static_cast<double>(after - std::min(before, after) + 1) / static_cast<double>(away + 1);
      if (victim == snapshots_.end() || worth < least) {
        victim = it;
        least = worth;
      }
    }
    if (victim == snapshots_.end()) return;
    snapshots_.erase(victim);
  }
}

}  // namespace chronovisor
