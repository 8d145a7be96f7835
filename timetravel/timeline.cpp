#include "timetravel/timeline.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/error.h"
#include "timetravel/replay.h"

namespace chronovisor {
namespace {

/// Distances before a destination at which checkpoints are left on the way, so
/// that going back from it is a short run, and from there again.
constexpr std::array<std::uint64_t, 5> kRungSteps{1ULL << 26, 1ULL << 22, 1ULL << 18, 1ULL << 14,
                                                  1ULL << 10};
/// Where the recording has no checkpoints, some are left at this spacing.
constexpr std::uint64_t kSparseSteps = 1ULL << 26;
/// What a first step back may have to run, for which a checkpoint is prepared.
constexpr std::uint64_t kWayBackSteps = 1ULL << 22;
/// A branch looks for a cancel this often.
constexpr std::uint64_t kBranchSliceSteps = 1'000'000;
/// Going ahead by checkpoint pays from here on.
constexpr std::uint64_t kWorthJumpingSteps = 8'000'000;
/// Going ahead on several cores pays from so many small stretches on.
constexpr std::uint64_t kSharedStretches = 16;
/// Of the budget of memory, for what is kept of what was read (ReaderOptions::within).
constexpr std::uint64_t kReadersShare = 7;

unsigned cores() { return std::max(1U, std::thread::hardware_concurrency()); }

}  // namespace

Timeline::Timeline(const RecordingReader& reader, const TimelineOptions& options)
    : reader_(reader),
      options_(options),
      start_(reader.start()),
      end_(reader.usable_to()),
      digests_(reader) {
  const StartCondition condition = runnable_start_of(reader);
  const bool checkpointed =
      !reader.checkpoints().empty() && reader.checkpoints().front().position == start_;
  if (!checkpointed && !begins_at_power_on(reader)) {
    throw Error(ErrorCode::bad_input, reader.name() + ": the recording starts at position " +
                                          grouped(start_.steps) + ", but has no checkpoint there");
  }
  auto machine = checkpointed ? std::make_unique<Machine>(condition.machine)
                              : make_machine(condition, images_of(reader));
  store_ =
      std::make_unique<CheckpointStore>(reader, machine->pages().page_count(),
                                        options.cache_bytes - options.cache_bytes / kReadersShare);
  traveller_ = std::make_unique<Traveller>(std::move(machine), *store_);
  if (options.use_index) filter_ = std::make_unique<IntervalFilter>(reader);
  search_ = std::make_unique<SegmentSearch>(
      *store_, options.jobs != 0 ? options.jobs : cores(), options.small_steps,
      [shape = condition.machine] { return std::make_unique<Machine>(shape); });
  if (checkpointed) {
    go_to_base(start_);
  } else {
    take_snapshot();
    verify_here();
  }
}

Timeline::~Timeline() { end_live(); }

// ---- going to a moment -----------------------------------------------------------------

void Timeline::take_snapshot() {
  const Position here = now().position;
  CHECK_THAT(!branched_, "a checkpoint off the timeline");
  if (store_->has_snapshot(here)) return;
  store_->add(here, traveller_->take_snapshot(store_->pool()));
}

void Timeline::go_to_base(Position target) {
  const std::optional<Base> base = store_->latest(target);
  CHECK_THAT(base.has_value(), "no checkpoint at the start of the recording");
  end_live();
  traveller_->restore(*base);
  branched_ = false;
}

std::vector<Position> Timeline::rungs_to(Position target) const {
  std::vector<Position> rungs;
  const std::uint64_t here = now().position.steps;
  for (const std::uint64_t distance : kRungSteps) {
    if (target.steps - here > 2 * distance) rungs.push_back({target.steps - distance});
  }
  const std::uint64_t near = rungs.empty() ? target.steps : rungs.front().steps;
  for (std::uint64_t at = (here / kSparseSteps + 1) * kSparseSteps; at < near; at += kSparseSteps) {
    const auto recorded = reader_.checkpoint_before({at});
    const bool covered =
        recorded && at - reader_.checkpoints()[*recorded].position.steps < kSparseSteps;
    if (!covered) rungs.push_back({at});
  }
  std::sort(rungs.begin(), rungs.end());
  return rungs;
}

/// Where a replay to `position` would begin: the recorded checkpoint before it.
std::optional<Position> Timeline::recorded_base(Position position) const {
  if (position <= start_) return std::nullopt;
  const auto checkpoint = reader_.checkpoint_before({position.steps - 1});
  if (!checkpoint) return std::nullopt;
  return reader_.checkpoints()[*checkpoint].position;
}

void Timeline::verify_here() {
  if (!options_.verify || branched_ || !machine().at_arrival()) return;
  const Position here = now().position;
  const std::optional<Hash128> recorded = digests_.at(here);
  if (!recorded) return;
  const Hash128 digest = machine().digest();
  if (digest != *recorded) {
    throw DivergenceError(reader_.name() + ": the replay differs from the recording at position " +
                              grouped(here.steps) + ": digest " + digest.hex() + ", recorded " +
                              recorded->hex(),
                          here, recorded_base(here));
  }
}

/// Runs on to `target`, leaving checkpoints before it on the way.
TravelStop Timeline::run_towards(Moment target, CancelToken cancel) {
  const std::vector<Position> rungs = rungs_to(target.position);
  auto rung = rungs.begin();
  while (now() < target) {
    Moment next = target;
    if (rung != rungs.end() && *rung < next.position) next = {*rung, 0};
    if (options_.verify) {
      const auto digest = digests_.next_after(now().position);
      if (digest && *digest < next.position) next = {*digest, 0};
    }
    const MachineStop stop = traveller_->run(next, cancel);
    if (stop == MachineStop::interrupted) return TravelStop::interrupted;
    if (stop != MachineStop::reached) {
      throw DivergenceError(reader_.name() + ": the replay ended at position " +
                                grouped(now().position.steps) + " (" +
                                std::string(end_reason_name(machine().ending().reason)) +
                                "), the recording goes on to " + grouped(end_.steps),
                            now().position, recorded_base(now().position));
    }
    verify_here();
    while (rung != rungs.end() && now().position >= *rung) {
      if (now().position == *rung && machine().at_arrival()) take_snapshot();
      ++rung;
    }
  }
  return TravelStop::arrived;
}

TravelStop Timeline::seek(Moment target, CancelToken cancel) {
  if (target.position < start_) target = {start_, 0};
  if (target.position > end_) target = {end_, 0};
  const Moment here = now();
  bool stay = false;
  // A machine that was stopped at `here` on its way may have done things there
  // that are not done on arrival.
  if (!branched_ && !traveller_->is_lost() &&
      (here < target || (here == target && (machine().at_arrival() || here.deliveries != 0)))) {
    const std::optional<Base> base = store_->latest(target.position);
    stay = base && base->position <= here.position;
  }
  if (!stay) go_to_base(target.position);
  return run_towards(target, cancel);
}

void Timeline::prepare_way_back(CancelToken cancel) {
  const Moment here = now();
  if (branched_ || here.deliveries != 0 || here.position <= start_ || !machine().at_arrival()) {
    return;
  }
  const Position before = store_->latest({here.position.steps - 1})->position;
  if (store_->latest(here.position)->position != here.position ||
      here.position.steps - before.steps <= 2 * kWayBackSteps) {
    return;
  }
  try {
    const Moment near{{here.position.steps - kWayBackSteps}, 0};
    if (seek(near, cancel) == TravelStop::arrived) take_snapshot();
  } catch (const Error&) {
    // A replay that fails there is reported to the user who goes there.
  }
  go_to_base(here.position);
}

// ---- steps -----------------------------------------------------------------------------

TravelResult Timeline::step_forward(CancelToken cancel) {
  const Position next{now().position.steps + 1};
  if (branched_) return run_branch_to({next, 0}, cancel);
  if (next > end_) return {TravelStop::history_end, 0, {}, false};
  return {run_towards({next, 0}, {}), 0, {}, false};
}

TravelResult Timeline::step_backward(CancelToken cancel) {
  if (branched_) {
    discard_branch();
    return {TravelStop::arrived, 0, {}, false};
  }
  const Moment here = now();
  Moment target{here.position, 0};
  if (here.deliveries == 0) {
    if (here.position <= start_) return {TravelStop::history_begin, 0, {}, false};
    --target.position.steps;
  }
  Excursion excursion(*this);
  const TravelStop stop = seek(target, cancel);
  if (stop != TravelStop::interrupted) excursion.stay();
  return {stop, 0, {}, false};
}

// ---- there and back --------------------------------------------------------------------

Timeline::Excursion::Excursion(Timeline& timeline) : timeline_(timeline), origin_(timeline.now()) {
  CHECK_THAT(!timeline.on_branch(), "an excursion begins on the timeline");
}

Timeline::Excursion::~Excursion() {
  if (!stays_) timeline_.come_back(origin_);
}

/// Whatever the machine has met on its way, it was here before: what is compared
/// on the way back was compared then.
void Timeline::come_back(Moment origin) noexcept {
  struct Unverified {
    TimelineOptions& options;
    bool verify = std::exchange(options.verify, false);
    ~Unverified() { options.verify = verify; }
  } const unverified{options_};
  // Only a host without memory or a file that changes underneath us can fail here:
  // any place of the timeline is better than the middle of something.
  for (const Moment place : {origin, Moment{start_, 0}}) {
    try {
      seek(place);
      return;
    } catch (const std::exception&) {
      continue;
    }
  }
}

// ---- searches ----------------------------------------------------------------------------

/// One piece of a run on a branch, no longer than a live recording allows.
MachineStop Timeline::run_branch_piece(Moment target, CancelToken cancel) {
  if (live_ != nullptr && live_->next_stop() < target.position) target = {live_->next_stop(), 0};
  const MachineStop stop = traveller_->run(target, cancel);
  if (live_ != nullptr) {
    live_->stopped(stop);
    if (stop == MachineStop::ended) end_live();
  }
  return stop;
}

TravelResult Timeline::run_branch_to(Moment target, CancelToken cancel) {
  CHECK_THAT(branched_, "a branch to run on");
  while (now() < target) {
    const MachineStop stop = run_branch_piece(target, cancel);
    if (stop == MachineStop::ended) return {TravelStop::branch_ended, 0, {}, false};
    if (stop != MachineStop::reached) return {TravelStop::interrupted, 0, {}, false};
  }
  return {TravelStop::arrived, 0, {}, false};
}

TravelResult Timeline::run_branch(const StopSet& stops, CancelToken cancel, Position limit) {
  const Traveller::Armed armed(*traveller_, stops);
  traveller_->resume_here();
  TravelResult result;
  while (now().position < limit) {
    traveller_->forget_hits();
    const Position slice{now().position.steps + kBranchSliceSteps};
    const MachineStop stop = run_branch_piece({std::min(limit, slice), 0}, cancel);
    // An idle wait is only cut short because somebody asked for it.
    if (stop == MachineStop::interrupted || stop == MachineStop::idle_stopped) {
      result.stop = TravelStop::interrupted;
    }
    if (stop == MachineStop::ended) result.stop = TravelStop::branch_ended;
    if (stop == MachineStop::breakpoint || stop == MachineStop::watchpoint) {
      if (traveller_->accept_stop(stop, stops, result)) break;
    } else if (stop != MachineStop::reached) {
      break;
    }
  }
  return result;
}

/// Runs on, armed, to `to`. Nothing: no stop on the way.
std::optional<TravelResult> Timeline::run_recorded(const StopSet& stops, CancelToken cancel,
                                                   Position to) {
  TravelResult result;
  while (now().position < to) {
    Position next = to;
    if (options_.verify) {
      if (const auto digest = digests_.next_after(now().position)) next = std::min(next, *digest);
    }
    traveller_->forget_hits();
    const std::uint64_t before = now().position.steps;
    const MachineStop stop = traveller_->run({next, 0}, cancel);
    steps_searched_ += now().position.steps - before;
    if (stop == MachineStop::breakpoint || stop == MachineStop::watchpoint) {
      if (traveller_->accept_stop(stop, stops, result)) return result;
    } else if (stop == MachineStop::reached) {
      verify_here();
    } else if (stop == MachineStop::interrupted) {
      return TravelResult{TravelStop::interrupted, 0, {}, false};
    } else {
      return TravelResult{TravelStop::history_end, 0, {}, false};
    }
  }
  return std::nullopt;
}

TravelResult Timeline::run_forward(const StopSet& stops, CancelToken cancel, Position limit) {
  if (branched_) return run_branch(stops, cancel, limit);
  const Position last = std::min(limit, end_);
  std::optional<Traveller::Armed> armed(std::in_place, *traveller_, stops);
  traveller_->resume_here();
  IntervalFilter::Question question(filter_.get(), stops);
  std::optional<TravelResult> result;
  while (!result && now().position < last) {
    // By checkpoint past what cannot stop.
    const Position here = now().position;
    Position ahead = here;
    Position piece = last;
    while (ahead < last) {
      const std::optional<Base> quiet = store_->latest(question.quiet_from(ahead, last));
      if (quiet && quiet->position > ahead) {
        ahead = quiet->position;
        if (cancel.requested()) break;
        continue;
      }
      const auto& checkpoints = reader_.checkpoints();
      const auto next =
          std::partition_point(checkpoints.begin(), checkpoints.end(),
                               [&](const CheckpointInfo& info) { return info.position <= ahead; });
      piece = next == checkpoints.end() ? last : std::min(last, next->position);
      if (question.may_stop(ahead, piece)) break;
      ahead = piece;
      if (cancel.requested()) break;
    }
    const std::optional<Base> base = store_->latest(ahead);
    if (base && base->position.steps > here.steps + kWorthJumpingSteps) {
      traveller_->restore(*base);
    }
    result = run_recorded(stops, cancel, std::min(last, std::max(piece, ahead)));
    if (!result) result = search_forward(stops, cancel, last, armed);
  }
  armed.reset();
  if (result) return *result;
  return {
      last == limit && last != end_ ? TravelStop::arrived : TravelStop::history_end, 0, {}, false};
}

/// The stretches that may hold a stop from `from` on, the earliest first.
std::vector<Segment> Timeline::segments_after(Position from, Position to, const StopSet& stops) {
  IntervalFilter::Question question(filter_.get(), stops);
  std::vector<Segment> segments;
  while (from < to) {
    const std::optional<Base> base = store_->latest(from);
    CHECK_THAT(base && base->position == from, "stretches begin where a machine can be put");
    const std::optional<Base> quiet = store_->latest(question.quiet_from(from, to));
    if (quiet && quiet->position > from) {
      from = quiet->position;
      continue;
    }
    const Position next = std::min(to, store_->next_after(from).value_or(to));
    if (question.may_stop(from, next)) {
      segments.push_back({*base, {next, 0}});
    }
    from = next;
  }
  return segments;
}

/// From a checkpoint on, what is far ahead is searched on all cores. The machine
/// is then armed and just before the stop, or where there is none, or where it
/// was when one machine would do as well.
/// @return a result when the search was cancelled
std::optional<TravelResult> Timeline::search_forward(const StopSet& stops, CancelToken cancel,
                                                     Position last,
                                                     std::optional<Traveller::Armed>& armed) {
  const Position here = now().position;
  const bool from_base = store_->latest(here) && store_->latest(here)->position == here;
  if (search_->jobs() == 1 || !from_base || !machine().at_arrival() ||
      last.steps - std::min(last, here).steps < kSharedStretches * options_.small_steps) {
    return std::nullopt;
  }
  const std::vector<Segment> segments = segments_after(here, last, stops);
  if (segments.size() < 2) return std::nullopt;
  armed.reset();
  const SegmentSearch::Outcome found =
      search_->run(*traveller_, segments, stops, Traveller::Which::first, cancel);
  steps_searched_ += found.steps;
  if (found.cancelled) {
    // Up to there nothing stops: as far as one machine would have come, or further.
    traveller_->restore(segments[std::min(found.without_stop, segments.size() - 1)].base);
    return TravelResult{TravelStop::interrupted, 0, {}, false};
  }
  seek(found.hit ? found.hit->moment : Moment{last, 0}, cancel);
  armed.emplace(*traveller_, stops);
  return std::nullopt;
}

/// The stretches that may hold a stop before `to`, the latest first.
std::vector<Segment> Timeline::segments_before(Moment to, const StopSet& stops) {
  IntervalFilter::Question question(filter_.get(), stops);
  std::vector<Segment> segments;
  while (to > Moment{start_, 0}) {
    const Position before = to.deliveries > 0 ? to.position : Position{to.position.steps - 1};
    const std::optional<Base> base = store_->latest(before);
    CHECK_THAT(base.has_value(), "no checkpoint at the start of the recording");
    if (to.deliveries == 0) {
      const Position quiet = question.quiet_up_to(to.position, start_);
      const Position earliest =
          quiet.steps == 0 ? quiet : store_->next_after({quiet.steps - 1}).value_or(to.position);
      if (earliest < to.position && earliest >= start_) {
        to = {earliest, 0};
        continue;
      }
    }
    // What the index covers ends on arrival; a moment after deliveries lies beyond.
    const Position upto{to.position.steps + (to.deliveries > 0 ? 1 : 0)};
    if (question.may_stop(base->position, upto)) {
      segments.push_back({*base, to});
    }
    to = {base->position, 0};
  }
  return segments;
}

TravelResult Timeline::run_backward(const StopSet& stops, CancelToken cancel) {
  if (branched_) discard_branch();
  // Back where it began, unless it gets somewhere.
  Excursion excursion(*this);
  const SegmentSearch::Outcome found =
      search_->run(*traveller_, segments_before(excursion.origin(), stops), stops,
                   Traveller::Which::last, cancel);
  steps_searched_ += found.steps;
  if (found.cancelled) return {TravelStop::interrupted, 0, {}, false};
  if (!found.hit) {
    seek({start_, 0});
    excursion.stay();
    return {TravelStop::history_begin, 0, {}, false};
  }
  if (seek(found.hit->moment, cancel) == TravelStop::interrupted) {
    return {TravelStop::interrupted, 0, {}, false};
  }
  excursion.stay();
  return found.hit->result;
}

// ---- branches -------------------------------------------------------------------------------

void Timeline::note_change() {
  if (live_ != nullptr) {
    throw Error(ErrorCode::usage,
                "this branch is live and being recorded, and a replay could not repeat a change "
                "by hand: discard it, change, and go live from there");
  }
  if (branched_) return;
  branched_ = true;
  branch_from_ = now();
  traveller_->use_recorded_input(false);
}

void Timeline::discard_branch() {
  if (!branched_) return;
  seek(branch_from_);
}

void Timeline::settle() {
  const Moment here = now();
  // On the timeline the state at a position is that on arrival; after deliveries,
  // and on a branch, it is what it has become.
  if (!branched_ && here.deliveries == 0 && !machine().at_arrival()) seek(here);
}

void Timeline::go_live(LiveRun run) {
  CHECK_THAT(live_ == nullptr, "one live branch at a time");
  const bool was_branched = std::exchange(branched_, true);
  if (!was_branched) branch_from_ = now();
  // What was due here and is done is done; the recording begins with an arrival.
  if (!machine().at_arrival()) machine().load_sections(machine().save_sections());
  try {
    live_ = std::make_unique<LiveBranch>(machine(), std::move(run));
  } catch (...) {
    traveller_->look_at_all_pages();
    traveller_->use_recorded_input(false);
    if (!was_branched) discard_branch();
    throw;
  }
}

void Timeline::end_live() noexcept {
  if (live_ == nullptr) return;
  live_->end();
  live_.reset();
  // The recorder has closed epochs, and it was the machine's input.
  traveller_->look_at_all_pages();
  traveller_->use_recorded_input(false);
}

}  // namespace chronovisor
