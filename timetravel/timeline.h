// Owns a recording opened for travel: one machine that can be put at any moment
// of the recorded run, forward and backward, and searched for stops in both
// directions. The recording itself never changes; what the user alters lives
// on a branch. Knows no debugger protocol. One thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/page_map.h"
#include "checkpoint/page_pool.h"
#include "recorder/recording_reader.h"
#include "recorder/replay_input.h"
#include "recorder/start_condition.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct TimelineOptions {
  /// Most bytes of checkpoints kept in memory while travelling.
  std::uint64_t cache_bytes = 1ULL << 30;
  /// Compare digests with the recorded ones whenever a run passes them.
  bool verify = true;
};

/// A breakpoint, with a condition that is evaluated on the machine as it
/// stands there; empty: always.
struct TravelBreakpoint {
  std::uint64_t address = 0;  ///< linear
  std::function<bool(Machine&)> condition;
};
struct TravelWatchpoint {
  Watchpoint watch;
  std::function<bool(Machine&)> condition;
};

/// What can stop a run through the timeline.
struct StopSet {
  std::vector<TravelBreakpoint> breakpoints;
  std::vector<TravelWatchpoint> watchpoints;
};

enum class TravelStop : std::uint8_t {
  arrived,        ///< where it was sent
  breakpoint,
  watchpoint,
  history_begin,
  history_end,
  interrupted,    ///< cancelled; backward searches are back where they began
  branch_ended,   ///< on a branch, the guest ended
};

struct TravelResult {
  TravelStop stop = TravelStop::arrived;
  std::uint64_t address = 0;  ///< of the breakpoint, or the first watched byte touched
  Watchpoint watchpoint;
  bool write = false;         ///< the watched access was a write
};

class Timeline {
 public:
  /// Opens `reader`'s recording at its start. The reader must outlive this.
  /// Throws Error{bad_input}.
  Timeline(const RecordingReader& reader, const TimelineOptions& options);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  [[nodiscard]] Position start() const { return start_; }
  [[nodiscard]] Position end() const { return end_; }
  [[nodiscard]] Moment now() const { return machine_->moment(); }
  [[nodiscard]] Machine& machine() { return *machine_; }
  [[nodiscard]] const RecordingReader& reader() const { return reader_; }

  /// Goes to a moment of the timeline, leaving a branch if on one. A moment
  /// past either end is brought to that end. `history_begin` and `history_end`
  /// are never returned. Throws Error{divergence} when a digest does not match.
  TravelStop seek(Moment target, const std::atomic<bool>* cancel = nullptr);
  /// One step on; `history_end` at the end.
  TravelResult step_forward();
  /// One step back; from within a position (after deliveries) to its arrival.
  TravelResult step_backward(const std::atomic<bool>* cancel = nullptr);
  /// On to the next stop, or the end, or `limit`.
  TravelResult run_forward(const StopSet& stops, const std::atomic<bool>* cancel,
                           Position limit = {kNever});
  /// Back to the nearest earlier stop, or the start.
  TravelResult run_backward(const StopSet& stops, const std::atomic<bool>* cancel);

  /// Whether the machine has left the timeline: see note_change().
  [[nodiscard]] bool on_branch() const { return branched_; }
  /// The user is about to change the machine's state by hand: from here it is
  /// a branch, and runs on without recorded input.
  void note_change();
  /// Back to the timeline, at the moment where the branch left it.
  void discard_branch();

  /// Bytes used by checkpoints in memory.
  [[nodiscard]] std::uint64_t cache_bytes_used() const;

 private:
  /// A checkpoint in memory: all but the page bytes, which are in the pool or
  /// in the recording.
  struct Snapshot {
    std::vector<Section> sections;
    PageMap pages;
    std::vector<Hash128> pooled;  ///< contents referenced in the pool
  };

  void load_checkpoint_maps(std::size_t upto);
  void restore_recorded(std::size_t checkpoint);
  void restore_snapshot(Position position);
  void apply_pages(const PageMap& target);
  void read_content(const Hash128& content, std::span<std::uint8_t, kPageSize> out) const;
  void sync_current_map();
  void take_snapshot();
  void drop_snapshot(std::map<Position, Snapshot>::iterator snapshot);
  void keep_within_budget();
  void go_to_base(Position target);
  TravelStop run_to(Moment target, const std::atomic<bool>* cancel);
  void verify_here();
  [[nodiscard]] std::optional<Position> latest_base(Position at_most) const;
  [[nodiscard]] std::vector<Position> ladder(Position target) const;
  struct Hit;
  std::optional<Hit> last_hit_before(Position from, Moment to, const StopSet& stops,
                                     const std::atomic<bool>* cancel, bool& cancelled);
  [[nodiscard]] bool accept_stop(MachineStop stop, const StopSet& stops, TravelResult& result);
  void arm(const StopSet& stops);
  void disarm();

  const RecordingReader& reader_;
  TimelineOptions options_;
  std::unique_ptr<Machine> machine_;
  ReplayInput input_;
  NoInput branch_input_;
  DebugHooks hooks_;
  Position start_;
  Position end_;
  std::vector<PageMap> recorded_maps_;      ///< page map of each recorded checkpoint so far
  std::map<Position, Hash128> digests_;
  PageMap current_;                         ///< contents of the machine's pages
  std::map<Position, Snapshot> snapshots_;
  PagePool pool_;
  bool branched_ = false;
  Moment branch_from_;
};

}  // namespace chronovisor
