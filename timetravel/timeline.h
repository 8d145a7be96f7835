// Owns a recording opened for travel: one machine that can be put at any moment
// of the recorded run, forward and backward, and searched for stops in both
// directions. The recording itself never changes; what the user alters lives
// on a branch, which may be recorded on its own. Knows no debugger protocol. One thread at a time;
// searches use threads of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/interval_filter.h"
#include "timetravel/live_branch.h"
#include "timetravel/recorded_digests.h"
#include "timetravel/segment_search.h"
#include "timetravel/stop_set.h"
#include "timetravel/traveller.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct TimelineOptions {
  /// Most bytes of checkpoints kept in memory while travelling.
  std::uint64_t cache_bytes = 1ULL << 30;
  /// Compare digests with the recorded ones whenever a run passes them.
  bool verify = true;
  /// Threads that search, each with a machine of its own; 0: one a core.
  unsigned jobs = 0;
  /// Stretches up to this long are not worth a thread of their own; forward runs
  /// are shared among threads when some 16 times this is ahead.
  std::uint64_t small_steps = 4'000'000;
  /// Skip what the interval index rules out.
  bool use_index = true;
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
  [[nodiscard]] Moment now() const { return traveller_->machine().moment(); }
  [[nodiscard]] Machine& machine() { return traveller_->machine(); }
  [[nodiscard]] const RecordingReader& reader() const { return reader_; }

  /// Goes to a moment of the timeline, leaving a branch if on one. A moment
  /// past either end is brought to that end. `history_begin` and `history_end`
  /// are never returned. Throws Error{divergence} when a digest does not match.
  TravelStop seek(Moment target, CancelToken cancel = {});
  /// Where the machine was put by a checkpoint, leaves one in memory a little
  /// before here, so that the first step back is short. The moment stays.
  void prepare_way_back(CancelToken cancel = {});
  /// One step on; `history_end` at the end.
  TravelResult step_forward(CancelToken cancel = {});
  /// One step back; from within a position (after deliveries) to its arrival.
  TravelResult step_backward(CancelToken cancel = {});
  /// On to the next stop, or the end, or `limit`.
  TravelResult run_forward(const StopSet& stops, CancelToken cancel, Position limit = {kNever});
  /// Back to the nearest earlier stop, or the start.
  TravelResult run_backward(const StopSet& stops, CancelToken cancel);

  /// Whether the machine has left the timeline: see note_change().
  [[nodiscard]] bool on_branch() const { return branched_; }
  /// On a branch: where it left the timeline.
  [[nodiscard]] Moment branch_from() const { return branch_from_; }
  /// The user is about to change the machine's state by hand: from here it is
  /// a branch, and runs on without recorded input. Throws Error{usage} on a live
  /// branch: its recording could not repeat the change.
  void note_change();
  /// Back to the timeline, at the moment where the branch left it.
  void discard_branch();
  /// On a branch: on to `target` at most; `arrived` there.
  TravelResult run_branch_to(Moment target, CancelToken cancel = {});

  /// Puts the machine into a state that a recording can begin with, without
  /// changing the moment: call it before taking the digest to begin with.
  void settle();
  /// From here the machine takes its input from `run` and is recorded by it, on
  /// a branch, until any travel leaves it or the guest ends; then the recording
  /// is ended. Throws Error{host} when it cannot be begun.
  void go_live(LiveRun run);
  /// The live branch, or null.
  [[nodiscard]] LiveBranch* live() { return live_.get(); }
  /// Ends the recording of a live branch; the machine stays, on a branch.
  void end_live() noexcept;

  /// A guard for a way there and back: when it goes, on whatever way out, the
  /// machine is again where it was, unless stay() was called. Begins on the
  /// timeline.
  class Excursion {
   public:
    explicit Excursion(Timeline& timeline);
    ~Excursion();
    Excursion(const Excursion&) = delete;
    Excursion& operator=(const Excursion&) = delete;
    [[nodiscard]] Moment origin() const { return origin_; }
    /// It has become a journey.
    void stay() { stays_ = true; }

   private:
    Timeline& timeline_;
    Moment origin_;
    bool stays_ = false;
  };
  /// What `look` returns, with the machine where it was before, also when `look`
  /// throws. `look` may travel as it likes.
  template <typename Look>
  auto excursion(Look&& look) {
    const Excursion back(*this);
    return std::forward<Look>(look)();
  }

  /// Bytes used by checkpoints in memory, and by what is kept of what was read.
  [[nodiscard]] std::uint64_t cache_bytes_used() const {
    return store_->bytes_used() + reader_.cache_bytes();
  }
  /// Steps that searches have executed so far, on all threads.
  [[nodiscard]] std::uint64_t steps_searched() const { return steps_searched_; }

 private:
  void take_snapshot();
  void go_to_base(Position target);
  TravelStop run_towards(Moment target, CancelToken cancel);
  void verify_here();
  [[nodiscard]] std::optional<Position> recorded_base(Position position) const;
  [[nodiscard]] std::vector<Position> rungs_to(Position target) const;
  MachineStop run_branch_piece(Moment target, CancelToken cancel);
  [[nodiscard]] TravelResult run_branch(const StopSet& stops, CancelToken cancel, Position limit);
  [[nodiscard]] std::optional<TravelResult> run_recorded(const StopSet& stops, CancelToken cancel,
                                                         Position to);
  [[nodiscard]] std::vector<Segment> segments_before(Moment to, const StopSet& stops);
  [[nodiscard]] std::vector<Segment> segments_after(Position from, Position to,
                                                    const StopSet& stops);
  [[nodiscard]] std::optional<TravelResult> search_forward(const StopSet& stops, CancelToken cancel,
                                                           Position last,
                                                           std::optional<Traveller::Armed>& armed);
  void come_back(Moment origin) noexcept;

  const RecordingReader& reader_;
  TimelineOptions options_;
  Position start_;
  Position end_;
  RecordedDigests digests_;
  std::unique_ptr<CheckpointStore> store_;
  std::unique_ptr<Traveller> traveller_;
  std::unique_ptr<IntervalFilter> filter_;
  std::unique_ptr<SegmentSearch> search_;
  bool branched_ = false;
  Moment branch_from_;
  std::unique_ptr<LiveBranch> live_;
  std::uint64_t steps_searched_ = 0;
};

}  // namespace chronovisor
