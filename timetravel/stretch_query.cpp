#include "timetravel/stretch_query.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "base/error.h"
#include "timetravel/linear_memory.h"

namespace chronovisor {
namespace {

/// Looks after the control this often.
constexpr std::uint64_t kSliceSteps = 4'000'000;
/// Touches described together: enough that going back for them does not count.
constexpr std::size_t kBatch = 1U << 16;
/// The first touch that changes a value is often among the first.
constexpr std::size_t kFirstBatch = 64;
/// Whoever is told of entries hears of touches no later, for all that going back costs.
constexpr std::uint64_t kTellNs = 250'000'000;

}  // namespace

StretchQuery::StretchQuery(Traveller& traveller, const Query& query, const StopSet& stops,
                           const Control& control)
    : traveller_(traveller), query_(query), stops_(stops), control_(control) {}

/// Nothing that comes later in the stretch can change the answer.
bool StretchQuery::is_full() const {
  if (query_.select == QuerySelect::first) return !answer_.entries.empty();
  return query_.select == QuerySelect::all && !control_.count_all &&
         answer_.entries.size() >= query_.limit;
}

/// Whether what a touch looks like matters, beside that there is one.
bool StretchQuery::need_entries() const {
  if (query_.kind == QueryKind::value) return true;
  if (query_.select == QuerySelect::count) return false;
  return query_.select != QuerySelect::all || answer_.entries.size() < query_.limit;
}

/// Of the host's clock; nothing that is found depends on it.
std::uint64_t StretchQuery::now_ns() const {
  if (!control_.found) return 0;
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

bool StretchQuery::is_time_to_tell() const {
  return control_.found && !touches_.empty() && now_ns() - touches_.front().seen_ns > kTellNs;
}

void StretchQuery::add(const QueryEntry& entry, std::uint64_t seen_ns) {
  ++answer_.count;
  if (query_.select == QuerySelect::count) return;
  if (control_.found) control_.found(entry, seen_ns);
  if (query_.select == QuerySelect::all && answer_.entries.size() >= query_.limit) return;
  if (query_.select == QuerySelect::first && !answer_.entries.empty()) return;
  if (query_.select == QuerySelect::last) answer_.entries.clear();
  answer_.entries.push_back(entry);
}

void StretchQuery::ended_early() const {
  throw Error(ErrorCode::divergence, traveller_.store().reader().name() +
                                         ": the replay ended at position " +
                                         grouped(traveller_.machine().position().steps) +
                                         ", the recording goes on to " + grouped(to_.steps));
}

/// The machine stands on a watched instruction.
void StretchQuery::note_execution() {
  Machine& machine = traveller_.machine();
  QueryEntry entry;
  entry.moment = machine.moment();
  entry.pc = machine.cpu().linear_rip();
  entry.address = entry.pc;
  entry.cr3 = machine.cpu().state.cr3;
  add(entry, now_ns());
}

/// A step or a delivery that began at `before` has touched what is watched.
void StretchQuery::note_touches(Moment before) {
  Touch touch{before, traveller_.machine().moment(), ~std::uint64_t{0}};
  touch.seen_ns = now_ns();
  const auto take = [&](std::uint64_t address, const std::string& device,
                        const DeviceRequest& request) {
    touch.address = std::min(touch.address, address);
    if (device.empty()) return;
    touch.device = device;
    touch.request = request;
    // It wrote on arrival there: the step after shows what it left.
    touch.after = {{before.position.steps + 1}, 0};
  };
  for (const WatchHit& hit : traveller_.hits()) take(hit.address, hit.device, hit.request);
  for (const PhysicalWatchHit& hit : traveller_.physical_hits()) {
    take(hit.address.value, hit.device, hit.request);
  }
  const Cpu& cpu = traveller_.machine().cpu();
  const bool knows = touch.device.empty() && touch.after.position != before.position &&
                     cpu.watched_by().position == before.position;
  if (knows) touch.by = cpu.watched_by();
  if (!need_entries()) {
    ++answer_.count;
    return;
  }
  // Of writes, the last alone need be looked at for the last.
  if (query_.select == QuerySelect::last && query_.kind == QueryKind::writes) touches_.clear();
  touches_.push_back(std::move(touch));
}

/// Runs on, without watching, to a moment before the end.
void StretchQuery::arrive(Moment target) {
  Machine& machine = traveller_.machine();
  while (machine.moment() < target && !answer_.stopped) {
    const MachineStop stop = traveller_.run(target, control_.stop);
    if (stop == MachineStop::interrupted) {
      answer_.stopped = true;
    } else if (stop != MachineStop::reached) {
      ended_early();
    }
  }
}

/// Whether what a touch looks like has to be seen where it was.
bool StretchQuery::needs_travel(const Touch& touch) const {
  return query_.kind == QueryKind::value || !touch.by;
}

/// Goes back to where the touches noted can be reached, if it must, and looks at the
/// machine before and after each. Then, to go on, returns to where it was.
void StretchQuery::describe(bool go_on) {
  if (touches_.empty()) return;
  Machine& machine = traveller_.machine();
  const bool travels =
      std::ranges::any_of(touches_, [this](const Touch& touch) { return needs_travel(touch); });
  std::optional<Base> here;
  if (travels && go_on) {
    here = Base{machine.position(), std::nullopt,
                std::make_shared<const Snapshot>(traveller_.take_snapshot(pool_))};
  }
  if (travels) {
    armed_.reset();
    traveller_.restore(anchor_);
  }
  for (const Touch& touch : std::exchange(touches_, {})) {
    const bool is_there = needs_travel(touch);
    if (is_there) arrive(touch.before);
    if (answer_.stopped) return;
    QueryEntry entry;
    entry.moment = touch.before;
    entry.by_delivery = touch.device.empty() && touch.after.position == touch.before.position;
    entry.device = touch.device;
    entry.request = touch.request.text;
    if (touch.request.started_steps != kNever) entry.started = touch.request.started_steps;
    entry.pc = is_there ? machine.cpu().linear_rip() : touch.by->linear_rip;
    entry.cr3 = is_there ? machine.cpu().state.cr3 : touch.by->cr3;
    entry.address = touch.address;
    if (query_.kind == QueryKind::value) {
      entry.before = read_linear_value(machine, query_.address, query_.length);
      arrive(touch.after);
      if (answer_.stopped) return;
      entry.after = read_linear_value(machine, query_.address, query_.length);
      if (entry.before && entry.before == entry.after) continue;
    }
    add(entry, touch.seen_ns);
    if (is_full()) return;
  }
  if (!here) return;
  traveller_.restore(*here);
  anchor_ = *here;
  armed_.emplace(traveller_, stops_);
}

/// Runs on, watching, to the arrival at `to`.
/// @return whether to go on
bool StretchQuery::piece(Position to) {
  Machine& machine = traveller_.machine();
  while (machine.position() < to) {
    traveller_.forget_hits();
    // A full batch is described at the next arrival.
    const bool full = touches_.size() >= batch_ || is_time_to_tell();
    const MachineStop stop =
        traveller_.run({full ? Position{machine.position().steps + 1} : to, 0}, control_.stop);
    if (stop == MachineStop::breakpoint) {
      traveller_.resume_here();
      note_execution();
    } else if (stop == MachineStop::watchpoint) {
      note_touches(machine.moment_before());
    } else if (stop == MachineStop::interrupted) {
      answer_.stopped = true;
    } else if (stop != MachineStop::reached) {
      ended_early();
    }
    if (answer_.stopped || is_full()) return false;
    const bool batch_is_full = touches_.size() >= batch_;
    if (!batch_is_full && !is_time_to_tell()) continue;
    const bool ends_here = query_.select == QuerySelect::first && query_.kind == QueryKind::writes;
    if (!ends_here && (machine.position() >= to || !machine.at_arrival())) continue;
    describe(!ends_here);
    if (batch_is_full) batch_ = std::min(batch_ * 4, kBatch);
    if (answer_.stopped || is_full()) return false;
  }
  return true;
}

/// A replay that is not the recorded run answers nothing: where the stretch ends at a
/// checkpoint, the state is compared.
void StretchQuery::compare_end() const {
  Machine& machine = traveller_.machine();
  const RecordingReader& reader = traveller_.store().reader();
  const auto checkpoint = reader.checkpoint_before(to_);
  if (!checkpoint || machine.position() != to_ || !machine.at_arrival()) return;
  const CheckpointInfo info = reader.checkpoints()[*checkpoint];
  if (info.position != to_ || machine.digest() == info.digest) return;
  throw Error(ErrorCode::divergence, reader.name() +
                                         ": the replay differs from the recording at position " +
                                         grouped(to_.steps) + "; verify says more");
}

StretchAnswer StretchQuery::run(const Stretch& stretch) {
  answer_ = {};
  touches_.clear();
  to_ = stretch.to;
  anchor_ = stretch.base;
  batch_ = query_.select == QuerySelect::first ? (query_.kind == QueryKind::value ? kFirstBatch : 1)
                                               : kBatch;
  Machine& machine = traveller_.machine();
  traveller_.restore(stretch.base);
  arrive({stretch.from, 0});
  armed_.emplace(traveller_, stops_);
  bool going = !answer_.stopped;
  while (going && machine.position() < stretch.to) {
    const std::uint64_t before = machine.position().steps;
    going = piece(std::min(stretch.to, Position{before + kSliceSteps}));
    control_.stepped(machine.position().steps - before);
    if (going && !control_.wanted()) answer_.stopped = true;
    going = going && !answer_.stopped;
  }
  if (going && control_.verify) compare_end();
  if (!answer_.stopped) describe(false);
  armed_.reset();
  return std::move(answer_);
}

}  // namespace chronovisor
