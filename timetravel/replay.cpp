#include "timetravel/replay.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "recorder/format/start_condition.h"
#include "timetravel/recorded_digests.h"
#include "timetravel/restore.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 10'000'000;

std::size_t checkpoint_for(const RecordingReader& reader, Position from) {
  const std::optional<std::size_t> checkpoint = reader.checkpoint_before(from);
  if (!checkpoint) {
    throw Error(ErrorCode::bad_input,
                reader.name() + ": no checkpoint at or before position " + grouped(from.steps));
  }
  return *checkpoint;
}

std::unique_ptr<Machine> machine_at_start(const RecordingReader& reader,
                                          const std::optional<Position>& from) {
  const StartCondition start = runnable_start_of(reader);
  if (from) return machine_at_checkpoint(reader, checkpoint_for(reader, *from));
  if (begins_at_power_on(reader)) return make_machine(start, images_of(reader));
  if (reader.checkpoints().empty() || reader.checkpoints().front().position != reader.start()) {
    throw Error(ErrorCode::bad_input, reader.name() + ": the recording starts at position " +
                                          grouped(reader.start().steps) +
                                          ", but has no checkpoint there");
  }
  return machine_at_checkpoint(reader, 0);
}

}  // namespace

std::map<Position, Hash128> recorded_digests(const RecordingReader& reader) {
  std::map<Position, Hash128> digests;
  for (const DigestRecord& record : reader.digests()) digests[record.position] = record.digest;
  for (const CheckpointInfo& info : reader.checkpoints()) digests[info.position] = info.digest;
  return digests;
}

ReplayRun::ReplayRun(const RecordingReader& reader, std::optional<Position> from,
                     std::optional<Tamper> tamper)
    : reader_(reader), input_(reader), machine_(machine_at_start(reader, from)) {
  machine_->set_input(&input_);
  begin_here(std::move(tamper));
}

void ReplayRun::restart(Position from, std::optional<Tamper> tamper) {
  frames_.reset();
  restore_checkpoint(*machine_, reader_, checkpoint_for(reader_, from));
  begin_here(std::move(tamper));
}

void ReplayRun::begin_here(std::optional<Tamper> tamper) {
  input_.rewind_to(machine_->position());
  if (reader_.frame_chunks() != 0) frames_.emplace(*machine_, reader_);
  trouble_.clear();
  tamper_ = std::move(tamper);
  tamper_here();
}

void ReplayRun::tamper_here() {
  if (!tamper_ || tamper_->at != machine_->position()) return;
  tamper_->change(*machine_);
  tamper_.reset();
}

ReplayRun::Arrival ReplayRun::run_to(Position target, CancelToken cancel) {
  if (tamper_ && tamper_->at > position() && tamper_->at <= target) {
    const Arrival arrival = run_machine(tamper_->at, cancel);
    if (arrival != Arrival::arrived) return arrival;
    tamper_here();
  }
  return run_machine(target, cancel);
}

ReplayRun::Arrival ReplayRun::run_out(std::uint64_t idle_ns, CancelToken cancel) {
  input_.stop_at_end(idle_ns);
  const Arrival arrival = run_machine({position().steps + 1}, cancel);
  if (arrival != Arrival::arrived) return arrival;
  trouble_ = "the guest goes on where the recording says that it had ended or waited";
  return Arrival::off_track;
}

ReplayRun::Arrival ReplayRun::run_machine(Position target, CancelToken cancel) {
  try {
    switch (machine_->run({target, 0}, cancel)) {
      case MachineStop::reached:
        if (frames_) {
          if (const auto& trouble = frames_->arrived()) {
            trouble_ = *trouble;
            return Arrival::off_track;
          }
        }
        return Arrival::arrived;
      case MachineStop::interrupted:
        return Arrival::interrupted;
      default:
        break;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::divergence) throw;
    trouble_ = error.what();
    return Arrival::off_track;
  }
  trouble_ = "the guest ended at position " + grouped(position().steps) + " (" +
             std::string(end_reason_name(machine_->ending().reason)) + ")";
  return Arrival::ended;
}

std::unique_ptr<Machine> ReplayRun::take_machine() {
  frames_.reset();
  machine_->set_input(nullptr);
  return std::move(machine_);
}

namespace {

ReplayOutcome replay_with(ReplayRun& run, const RecordingReader& reader,
                          const ReplayOptions& options,
                          const std::function<void(Position)>& progress) {
  Machine& machine = run.machine();
  if (options.prepare) options.prepare(machine);
  const Listening listening(machine.outputs(), options.observer);
  std::optional<RecordedDigests> digests;
  if (options.verify) digests.emplace(reader);
  const Position end = std::min(options.to, reader.usable_to());
  ReplayOutcome outcome;
  while (true) {
    const Position here = run.position();
    if (const auto recorded = digests ? digests->at(here) : std::nullopt) {
      const Hash128 digest = machine.digest();
      if (digest != *recorded) {
        throw DivergenceError(
            reader.name() + ": the replay differs from the recording at position " +
                grouped(here.steps) + ": digest " + digest.hex() + ", recorded " + recorded->hex(),
            here, options.from);
      }
      ++outcome.digests_checked;
    }
    progress(here);
    if (here >= end) break;
    Position next = std::min(end, Position{here.steps + kSliceSteps});
    if (const auto digest = digests ? digests->next_after(here) : std::nullopt) {
      next = std::min(next, *digest);
    }
    const ReplayRun::Arrival arrival = run.run_to(next, options.cancel);
    if (arrival == ReplayRun::Arrival::interrupted) {
      outcome.interrupted = true;
      break;
    }
    if (arrival != ReplayRun::Arrival::arrived) {
      throw DivergenceError(
          reader.name() + ": the replay differs from the recording, which goes on to position " +
              grouped(end.steps) + ": " + run.trouble(),
          next, options.from);
    }
  }
  outcome.position = machine.position();
  outcome.digest = machine.digest();
  return outcome;
}

}  // namespace

ReplayOutcome replay_recording(const RecordingReader& reader, const ReplayOptions& options,
                               const std::function<void(Position)>& progress) {
  ReplayRun run(reader, options.from, options.tamper);
  run.set_on_idle(options.on_idle);
  return replay_with(run, reader, options, progress);
}

std::unique_ptr<Machine> machine_at(const RecordingReader& reader, Position position,
                                    CancelToken cancel,
                                    const std::function<void(Position)>& progress) {
  ReplayOptions options;
  if (reader.checkpoint_before(position)) options.from = position;
  options.to = position;
  options.cancel = cancel;
  ReplayRun run(reader, options.from);
  if (replay_with(run, reader, options, progress).interrupted) {
    throw Error(ErrorCode::host,
                reader.name() + ": interrupted on the way to position " + grouped(position.steps));
  }
  return run.take_machine();
}

}  // namespace chronovisor
