// Owns a search through stretches of a recording on several threads, each with
// a machine of its own, whose answer is the one a search of one stretch after
// the other would give. Called from one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/cancel.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/stop_set.h"
#include "timetravel/traveller.h"

namespace chronovisor {

/// From a base up to, but not at, a moment.
struct Segment {
  Base base;
  Moment to;
};

class SegmentSearch {
 public:
  /// @param make_machine makes a machine as constructed, of the recording's shape
  /// @param jobs threads at most, at least 1
  /// @param small_steps stretches up to this are not worth a thread
  SegmentSearch(const CheckpointStore& store, unsigned jobs, std::uint64_t small_steps,
                std::function<std::unique_ptr<Machine>()> make_machine);
  ~SegmentSearch();
  SegmentSearch(const SegmentSearch&) = delete;
  SegmentSearch& operator=(const SegmentSearch&) = delete;

  [[nodiscard]] unsigned jobs() const { return jobs_; }

  struct Outcome {
    std::optional<TravelHit> hit;
    bool cancelled = false;
    std::uint64_t steps = 0;  ///< executed
    /// So many of the segments, from the first on, hold no stop.
    std::size_t without_stop = 0;
  };
  /// Searches `segments` in their order; the first of them that has a stop
  /// decides, by its first or last one. Uses `own` on the calling thread, and
  /// leaves it anywhere. Returns soon after `cancel` becomes true.
  /// Errors of any thread are thrown here, once all have ended.
  [[nodiscard]] Outcome run(Traveller& own, const std::vector<Segment>& segments,
                            const StopSet& stops, Traveller::Which which, CancelToken cancel);

 private:
  struct Task;
  static void work(Task& task, Traveller& traveller, std::size_t worker);

  const CheckpointStore& store_;
  unsigned jobs_;
  std::uint64_t small_steps_;
  std::function<std::unique_ptr<Machine>()> make_machine_;
  std::vector<std::unique_ptr<Traveller>> helpers_;  ///< made when first needed, then kept
};

}  // namespace chronovisor
