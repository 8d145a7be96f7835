// Owns every place on a timeline from which a machine can be started: the
// recorded checkpoints, and further ones made while travelling, kept within a
// budget of memory, dense near where the user is and thin far away. Knows no
// machine. Changed by one thread, while no other reads; read by any.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/page_map.h"
#include "checkpoint/page_pool.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// A checkpoint in memory.
struct Snapshot {
  std::vector<Section> sections;
  PageMap pages;
};

/// A place to start from: a recorded checkpoint, or one in memory.
struct Base {
  Position position;
  std::optional<std::size_t> recorded;
  std::shared_ptr<const Snapshot> snapshot;
};

class CheckpointStore {
 public:
  /// The reader must outlive this.
  CheckpointStore(const RecordingReader& reader, std::uint64_t page_count,
                  std::uint64_t budget_bytes);

  [[nodiscard]] const RecordingReader& reader() const { return reader_; }
  /// The latest base at or before `at_most`; where both kinds are, the one in memory.
  [[nodiscard]] std::optional<Base> latest(Position at_most) const;
  /// The earliest base after `position`.
  [[nodiscard]] std::optional<Position> next_after(Position position) const;
  [[nodiscard]] bool has_snapshot(Position position) const { return snapshots_.contains(position); }

  /// Contents of all pages at a recorded checkpoint. Those used lately are kept, in a
  /// quarter of the budget. Throws Error{bad_input}.
  [[nodiscard]] PageMap recorded_map(std::size_t checkpoint) const;
  [[nodiscard]] PageMap map_of(const Base& base) const;
  [[nodiscard]] std::vector<Section> sections_of(const Base& base) const;
  /// Fills `out` with a page of `map`, from wherever it is kept.
  void read_page(const PageMap& map, std::uint64_t page,
                 std::span<std::uint8_t, kPageSize> out) const;

  [[nodiscard]] PagePool& pool() { return pool_; }
  [[nodiscard]] const MemoryAccount& account() const { return account_; }
  /// Keeps a checkpoint made at `position`, then thins out around `here`.
  void add(Position position, Snapshot snapshot);
  [[nodiscard]] std::uint64_t bytes_used() const {
    return snapshot_bytes() + recorded_account_->load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t snapshot_count() const { return snapshots_.size(); }

 private:
  struct RecordedMap {
    PageMap map;
    std::uint64_t used = 0;  ///< a number that grows with each use
  };
  void keep_within_budget(Position here);
  [[nodiscard]] std::uint64_t snapshot_bytes() const {
    return account_->load(std::memory_order_relaxed) + pool_.bytes();
  }
  [[nodiscard]] std::uint64_t recorded_budget() const { return budget_bytes_ / 4; }
  void apply_delta(PageMap& map, std::size_t checkpoint) const;
  void keep_recorded(std::size_t checkpoint, const PageMap& map) const;

  const RecordingReader& reader_;
  std::uint64_t page_count_;
  std::uint64_t budget_bytes_;
  PagePool pool_;
  MemoryAccount account_;
  mutable std::mutex maps_mutex_;
  mutable std::map<std::size_t, RecordedMap> recorded_maps_;
  mutable std::uint64_t uses_ = 0;
  MemoryAccount recorded_account_;  ///< of recorded maps
  std::map<Position, std::shared_ptr<const Snapshot>> snapshots_;
};

}  // namespace chronovisor
