#include "timetravel/timeline.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

/// Distances before a destination at which checkpoints are left on the way, so
/// that going back from it is a short run, and from there again.
constexpr std::array<std::uint64_t, 5> kLadderSteps{1ULL << 27, 1ULL << 23, 1ULL << 19, 1ULL << 15,
                                                    1ULL << 11};
/// Checkpoints in memory, whatever their size.
constexpr std::size_t kMostSnapshots = 4096;
/// A branch looks for a cancel this often.
constexpr std::uint64_t kBranchSliceSteps = 1'000'000;

std::uint64_t linear_rip(Machine& machine) {
  Cpu& cpu = machine.cpu();
  return cpu.long64() ? cpu.rip()
                      : static_cast<std::uint32_t>(cpu.rip() + cpu.state.segment[kCs].base);
}

}  // namespace

/// Something a search found: the moment to stop at, and why.
struct Timeline::Hit {
  Moment moment;
  TravelResult result;
};

Timeline::Timeline(const RecordingReader& reader, const TimelineOptions& options)
    : reader_(reader),
      options_(options),
      input_(reader),
      start_(reader.start()),
      end_(reader.usable_to()),
      current_(1, Machine::zero_page_hash()) {
  const StartCondition condition = start_of(reader);
  for (const DigestRecord& record : reader.digests()) digests_[record.position] = record.digest;
  for (const CheckpointInfo& info : reader.checkpoints()) digests_[info.position] = info.digest;
  const bool checkpointed =
      !reader.checkpoints().empty() && reader.checkpoints().front().position == start_;
  machine_ = checkpointed ? std::make_unique<Machine>(condition.machine)
                          : make_machine(condition, images_of(reader));
  current_ = PageMap(machine_->ram().page_count(), Machine::zero_page_hash());
  machine_->set_input(&input_);
  if (checkpointed) {
    restore_recorded(0);
  } else {
    take_snapshot();
    verify_here();
  }
}

Timeline::~Timeline() = default;

// ---- memory and checkpoints --------------------------------------------------------

void Timeline::load_checkpoint_maps(std::size_t upto) {
  while (recorded_maps_.size() <= upto) {
    const std::size_t n = recorded_maps_.size();
    const CheckpointInfo& info = reader_.checkpoints()[n];
    PageMap map = info.parent ? recorded_maps_.at(*info.parent)
                              : PageMap(machine_->ram().page_count(), Machine::zero_page_hash());
    for (const PageRecord& page : reader_.page_delta(n)) {
      if (page.page >= map.page_count()) {
        throw Error(ErrorCode::bad_input, reader_.name() + ": the checkpoint at position " +
                                              grouped(info.position.steps) + " has page " +
                                              std::to_string(page.page) +
                                              ", outside the machine's memory");
      }
      map.set(page.page, page.content);
    }
    recorded_maps_.push_back(std::move(map));
  }
}

void Timeline::read_content(const Hash128& content, std::span<std::uint8_t, kPageSize> out) const {
  if (content == Machine::zero_page_hash()) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
  } else if (!pool_.read(content, out)) {
    reader_.read_page(content, out);
  }
}

void Timeline::sync_current_map() {
  for (const std::uint32_t page : machine_->close_epoch()) {
    current_.set(page, machine_->page_hash(page));
  }
}

void Timeline::apply_pages(const PageMap& target) {
  sync_current_map();
  std::array<std::uint8_t, kPageSize> bytes{};
  current_.for_each_difference(
      target, [&](std::uint64_t page, const Hash128& /*here*/, const Hash128& there) {
        read_content(there, bytes);
        machine_->replace_page(page, bytes, there);
      });
  current_ = target;
}

void Timeline::restore_recorded(std::size_t checkpoint) {
  load_checkpoint_maps(checkpoint);
  apply_pages(recorded_maps_[checkpoint]);
  machine_->load_sections(reader_.load_sections(checkpoint));
  input_.rewind_to(machine_->position());
}

void Timeline::restore_snapshot(Position position) {
  const Snapshot& snapshot = snapshots_.at(position);
  apply_pages(snapshot.pages);
  machine_->load_sections(snapshot.sections);
  input_.rewind_to(position);
}

void Timeline::take_snapshot() {
  const Position here = machine_->position();
  CHECK_THAT(!branched_ && machine_->moment().deliveries == 0, "a checkpoint off the timeline");
  if (snapshots_.contains(here)) return;
  sync_current_map();
  Snapshot snapshot{machine_->save_sections(), current_, {}};
  const auto add = [&](std::uint64_t page, const Hash128& content) {
    if (content == Machine::zero_page_hash()) return;
    pool_.add(content, {machine_->ram().host(page * kPageSize), kPageSize});
    snapshot.pooled.push_back(content);
  };
  const std::optional<std::size_t> recorded = reader_.checkpoint_before(here);
  if (recorded) load_checkpoint_maps(*recorded);
  const PageMap zero(current_.page_count(), Machine::zero_page_hash());
  const PageMap& base = recorded ? recorded_maps_[*recorded] : zero;
  base.for_each_difference(
      current_, [&](std::uint64_t page, const Hash128& /*there*/, const Hash128& content) {
        add(page, content);
      });
  snapshots_.emplace(here, std::move(snapshot));
  keep_within_budget();
}

void Timeline::drop_snapshot(std::map<Position, Snapshot>::iterator snapshot) {
  for (const Hash128& content : snapshot->second.pooled) pool_.release(content);
  snapshots_.erase(snapshot);
}

std::uint64_t Timeline::cache_bytes_used() const {
  std::uint64_t bytes = pool_.bytes();
  for (const auto& [position, snapshot] : snapshots_) {
    bytes += snapshot.pages.own_bytes() + snapshot.pooled.size() * sizeof(Hash128) + 16384;
  }
  return bytes;
}

/// Thins out: the checkpoint whose loss makes the least difference, relative to
/// how far it is from here, goes first. A start that is not in the recording stays.
void Timeline::keep_within_budget() {
  const Position here = machine_->position();
  while (snapshots_.size() > 2 &&
         (snapshots_.size() > kMostSnapshots || cache_bytes_used() > options_.cache_bytes)) {
    auto victim = snapshots_.end();
    double least = 0;
    for (auto it = std::next(snapshots_.begin()); it != snapshots_.end(); ++it) {
      if (it->first == here) continue;
      const std::uint64_t before = std::prev(it)->first.steps;
      const std::uint64_t after = std::next(it) == snapshots_.end() ? end_.steps : std::next(it)->first.steps;
      const std::uint64_t away = it->first < here ? here.steps - it->first.steps : it->first.steps - here.steps;
      const double worth = static_cast<double>(after - before + 1) / static_cast<double>(away + 1);
      if (victim == snapshots_.end() || worth < least) {
        victim = it;
        least = worth;
      }
    }
    if (victim == snapshots_.end()) return;
    drop_snapshot(victim);
  }
}

// ---- going to a moment -----------------------------------------------------------------

std::optional<Position> Timeline::latest_base(Position at_most) const {
  std::optional<Position> best;
  if (const auto recorded = reader_.checkpoint_before(at_most)) {
    best = reader_.checkpoints()[*recorded].position;
  }
  auto snapshot = snapshots_.upper_bound(at_most);
  if (snapshot != snapshots_.begin()) {
    --snapshot;
    if (!best || snapshot->first > *best) best = snapshot->first;
  }
  return best;
}

void Timeline::go_to_base(Position target) {
  const std::optional<Position> base = latest_base(target);
  CHECK_THAT(base.has_value(), "no checkpoint at the start of the recording");
  machine_->set_input(&input_);
  branched_ = false;
  if (snapshots_.contains(*base)) {
    restore_snapshot(*base);
  } else {
    restore_recorded(*reader_.checkpoint_before(*base));
  }
}

std::vector<Position> Timeline::ladder(Position target) const {
  std::vector<Position> rungs;
  const Position here = machine_->position();
  for (const std::uint64_t distance : kLadderSteps) {
    if (target.steps - here.steps > 2 * distance) rungs.push_back({target.steps - distance});
  }
  return rungs;
}

void Timeline::verify_here() {
  if (!options_.verify || branched_ || machine_->moment().deliveries != 0) return;
  const Position here = machine_->position();
  const auto recorded = digests_.find(here);
  if (recorded == digests_.end()) return;
  sync_current_map();
  const Hash128 digest = machine_->digest();
  if (digest != recorded->second) {
    throw Error(ErrorCode::divergence,
                reader_.name() + ": the replay differs from the recording at position " +
                    grouped(here.steps) + ": digest " + digest.hex() + ", recorded " +
                    recorded->second.hex());
  }
}

/// Runs on to `target`, leaving checkpoints before it on the way.
TravelStop Timeline::run_to(Moment target, const std::atomic<bool>* cancel) {
  const std::vector<Position> rungs = ladder(target.position);
  auto rung = rungs.begin();
  machine_->set_cancel(cancel);
  while (machine_->moment() < target) {
    Moment next = target;
    const Position here = machine_->position();
    if (rung != rungs.end() && *rung < next.position) next = {*rung, 0};
    if (options_.verify) {
      const auto digest = digests_.upper_bound(here);
      if (digest != digests_.end() && digest->first < next.position) next = {digest->first, 0};
    }
    const MachineStop stop = machine_->run(next);
    if (stop == MachineStop::interrupted) {
      machine_->set_cancel(nullptr);
      return TravelStop::interrupted;
    }
    if (stop != MachineStop::reached) {
      throw Error(ErrorCode::divergence,
                  reader_.name() + ": the replay ended at position " +
                      grouped(machine_->position().steps) + " (" +
                      std::string(end_reason_name(machine_->ending().reason)) +
                      "), the recording goes on to " + grouped(end_.steps));
    }
    verify_here();
    if (rung != rungs.end() && machine_->position() >= *rung) {
      if (machine_->position() == *rung && machine_->moment().deliveries == 0) take_snapshot();
      ++rung;
    }
  }
  machine_->set_cancel(nullptr);
  return TravelStop::arrived;
}

TravelStop Timeline::seek(Moment target, const std::atomic<bool>* cancel) {
  if (target.position < start_) target = {start_, 0};
  if (target.position > end_) target = {end_, 0};
  const Moment here = now();
  const std::optional<Position> base = latest_base(target.position);
  const bool stay = !branched_ && here <= target && base && *base <= here.position;
  if (!stay) go_to_base(target.position);
  return run_to(target, cancel);
}

// ---- steps -----------------------------------------------------------------------------

TravelResult Timeline::step_forward() {
  const Position next{now().position.steps + 1};
  if (!branched_) {
    if (next > end_) return {TravelStop::history_end, 0, {}, false};
    return {run_to({next, 0}, nullptr), 0, {}, false};
  }
  const MachineStop stop = machine_->run({next, 0});
  return {stop == MachineStop::ended ? TravelStop::branch_ended : TravelStop::arrived, 0, {}, false};
}

TravelResult Timeline::step_backward(const std::atomic<bool>* cancel) {
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
  const TravelStop stop = seek(target, cancel);
  if (stop == TravelStop::interrupted) seek(here);
  return {stop, 0, {}, false};
}

// ---- searches ----------------------------------------------------------------------------

void Timeline::arm(const StopSet& stops) {
  hooks_ = DebugHooks{};
  for (const TravelBreakpoint& b : stops.breakpoints) hooks_.breakpoints.insert(b.address);
  for (const TravelWatchpoint& w : stops.watchpoints) hooks_.watchpoints.push_back(w.watch);
  machine_->set_debug_hooks(&hooks_);
}

void Timeline::disarm() {
  machine_->set_debug_hooks(nullptr);
  machine_->set_cancel(nullptr);
}

/// Whether the machine's stop counts, conditions considered. If not, arms the
/// hooks to go on from here.
bool Timeline::accept_stop(MachineStop stop, const StopSet& stops, TravelResult& result) {
  if (stop == MachineStop::breakpoint) {
    const std::uint64_t address = linear_rip(*machine_);
    hooks_.resumed_at_position = machine_->position().steps;
    hooks_.resumed_at_address = address;
    for (const TravelBreakpoint& b : stops.breakpoints) {
      if (b.address == address && (!b.condition || b.condition(*machine_))) {
        result = {TravelStop::breakpoint, address, {}, false};
        return true;
      }
    }
    return false;
  }
  const std::vector<WatchHit> hits = std::exchange(hooks_.hits, {});
  for (const WatchHit& hit : hits) {
    for (const TravelWatchpoint& w : stops.watchpoints) {
      if (w.watch == hit.watchpoint && (!w.condition || w.condition(*machine_))) {
        result = {TravelStop::watchpoint, hit.address, hit.watchpoint, hit.write};
        return true;
      }
    }
  }
  return false;
}

TravelResult Timeline::run_forward(const StopSet& stops, const std::atomic<bool>* cancel,
                                   Position limit) {
  arm(stops);
  hooks_.resumed_at_position = machine_->position().steps;
  hooks_.resumed_at_address = linear_rip(*machine_);
  machine_->set_cancel(cancel);
  TravelResult result;
  const Position last = branched_ ? limit : std::min(limit, end_);
  while (true) {
    if (machine_->position() >= last) {
      result.stop = last == limit && last != end_ ? TravelStop::arrived : TravelStop::history_end;
      break;
    }
    Position next = last;
    if (branched_) next = std::min(last, Position{machine_->position().steps + kBranchSliceSteps});
    if (!branched_ && options_.verify) {
      const auto digest = digests_.upper_bound(machine_->position());
      if (digest != digests_.end()) next = std::min(next, digest->first);
    }
    hooks_.hits.clear();
    const MachineStop stop = machine_->run({next, 0});
    if (stop == MachineStop::interrupted) {
      result.stop = TravelStop::interrupted;
      break;
    }
    if (stop == MachineStop::breakpoint || stop == MachineStop::watchpoint) {
      if (accept_stop(stop, stops, result)) break;
    } else if (stop == MachineStop::reached) {
      verify_here();
    } else if (branched_) {
      result.stop = TravelStop::branch_ended;
      break;
    } else {
      result.stop = TravelStop::history_end;
      break;
    }
  }
  disarm();
  return result;
}

/// Runs the segment from the checkpoint at `from` up to `to` and keeps the last
/// stop strictly before `to`.
std::optional<Timeline::Hit> Timeline::last_hit_before(Position from, Moment to,
                                                       const StopSet& stops,
                                                       const std::atomic<bool>* cancel,
                                                       bool& cancelled) {
  go_to_base(from);
  arm(stops);
  machine_->set_cancel(cancel);
  std::optional<Hit> last;
  while (machine_->moment() < to) {
    hooks_.hits.clear();
    const MachineStop stop = machine_->run(to);
    if (stop == MachineStop::reached || stop == MachineStop::ended) break;
    if (stop == MachineStop::interrupted) {
      cancelled = true;
      break;
    }
    const Moment moment =
        stop == MachineStop::watchpoint ? machine_->moment_before() : machine_->moment();
    TravelResult result;
    if (accept_stop(stop, stops, result) && moment < to) last = Hit{moment, result};
  }
  disarm();
  return last;
}

TravelResult Timeline::run_backward(const StopSet& stops, const std::atomic<bool>* cancel) {
  if (branched_) discard_branch();
  const Moment origin = now();
  Moment to = origin;
  bool cancelled = false;
  while (to > Moment{start_, 0}) {
    // The segment that ends at `to` starts at the latest checkpoint before it.
    const Position before = to.deliveries > 0 ? to.position : Position{to.position.steps - 1};
    const std::optional<Position> base = latest_base(before);
    CHECK_THAT(base.has_value(), "no checkpoint at the start of the recording");
    const std::optional<Hit> hit = last_hit_before(*base, to, stops, cancel, cancelled);
    if (cancelled) break;
    if (hit) {
      if (seek(hit->moment, cancel) == TravelStop::interrupted) {
        cancelled = true;
        break;
      }
      return hit->result;
    }
    to = {*base, 0};
  }
  if (cancelled) {
    seek(origin);
    return {TravelStop::interrupted, 0, {}, false};
  }
  seek({start_, 0});
  return {TravelStop::history_begin, 0, {}, false};
}

// ---- branches -------------------------------------------------------------------------------

void Timeline::note_change() {
  if (branched_) return;
  branched_ = true;
  branch_from_ = now();
  machine_->set_input(&branch_input_);
}

void Timeline::discard_branch() {
  if (!branched_) return;
  seek(branch_from_);
}

}  // namespace chronovisor
