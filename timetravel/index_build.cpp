#include "timetravel/index_build.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "recorder/format/interval_index.h"
#include "recorder/format/start_condition.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/parallel.h"
#include "timetravel/traveller.h"

namespace chronovisor {
namespace {

/// Looks after the rest of the world this often.
constexpr std::uint64_t kSliceSteps = 4'000'000;

Position interval_end(const RecordingReader& reader, std::size_t checkpoint) {
  const auto& checkpoints = reader.checkpoints();
  return checkpoint + 1 < checkpoints.size()
             ? std::min(checkpoints[checkpoint + 1].position, reader.usable_to())
             : reader.usable_to();
}

/// Where indexes that can be read begin, and where they end.
std::map<Position, Position> readable(const RecordingReader& reader, std::size_t& damaged) {
  std::map<Position, Position> known;
  for (std::size_t n = 0; n < reader.intervals().size(); ++n) {
    const IntervalInfo& info = reader.intervals()[n];
    try {
      (void)IntervalAccesses::decode(reader.load_interval(n), "interval index");
      Position& to = known[info.from];
      to = std::max(to, info.to);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      ++damaged;
    }
  }
  return known;
}

/// One interval, run from its checkpoint to its end. Nothing: told to stop.
std::optional<NewInterval> build_interval(Traveller& traveller, std::size_t checkpoint,
                                          const std::atomic<bool>& stop,
                                          std::atomic<std::uint64_t>& done) {
  const RecordingReader& reader = traveller.store().reader();
  NewInterval built{
      reader.checkpoints()[checkpoint].position, interval_end(reader, checkpoint), {}};
  traveller.restore(Base{built.from, checkpoint, nullptr});
  Machine& machine = traveller.machine();
  AccessGatherer gatherer;
  struct Watching {
    Machine& machine;
    ~Watching() { machine.set_access_observer(nullptr); }
  } const watching{machine};
  machine.set_access_observer(&gatherer);
  while (machine.position() < built.to) {
    const Position before = machine.position();
    const MachineStop result =
        machine.run({std::min(built.to, Position{before.steps + kSliceSteps}), 0}, stop);
    done += machine.position().steps - before.steps;
    if (result == MachineStop::interrupted) return std::nullopt;
    if (result != MachineStop::reached && machine.position() < built.to) {
      throw Error(ErrorCode::divergence, reader.name() + ": the replay ended at position " +
                                             grouped(machine.position().steps) +
                                             ", the recording goes on to " +
                                             grouped(built.to.steps));
    }
  }
  built.data = gatherer.take().encode();
  return built;
}

}  // namespace

IndexState index_state(const RecordingReader& reader) {
  IndexState state;
  const std::map<Position, Position> known = readable(reader, state.damaged);
  for (std::size_t n = 0; n < reader.checkpoints().size(); ++n) {
    Position at = reader.checkpoints()[n].position;
    const Position end = interval_end(reader, n);
    if (at >= end) continue;
    const std::uint64_t steps = end.steps - at.steps;
    ++state.intervals;
    state.steps += steps;
    for (auto next = known.find(at); next != known.end() && at < end; next = known.find(at)) {
      at = next->second;
    }
    if (at >= end) continue;
    state.missing.push_back(n);
    state.missing_steps += steps;
  }
  return state;
}

BuiltIndex build_index(
    const RecordingReader& reader, const IndexState& state, unsigned jobs, CancelToken cancel,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) {
  BuiltIndex result;
  if (state.missing.empty()) return result;
  const StartCondition start = runnable_start_of(reader);
  auto first_machine = std::make_unique<Machine>(start.machine);
  const CheckpointStore store(reader, first_machine->pages().page_count(), 0);
  const unsigned threads = threads_for(jobs);
  std::vector<std::unique_ptr<Traveller>> travellers(threads);
  std::vector<std::optional<NewInterval>> built(state.missing.size());
  std::atomic<std::uint64_t> done{0};
  result.cancelled = !run_parallel(
      state.missing.size(), threads, cancel,
      [&](std::size_t task, const Worker& worker) {
        std::unique_ptr<Traveller>& mine = travellers[worker.number];
        if (mine == nullptr) {
          mine = std::make_unique<Traveller>(worker.number == 0
                                                 ? std::move(first_machine)
                                                 : std::make_unique<Machine>(start.machine),
                                             store);
        }
        built[task] = build_interval(*mine, state.missing[task], worker.stop, done);
      },
      [&] { progress(done.load(), state.missing_steps); });
  for (std::optional<NewInterval>& interval : built) {
    if (interval) result.intervals.push_back(std::move(*interval));
  }
  return result;
}

}  // namespace chronovisor
