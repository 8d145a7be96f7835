#include "timetravel/replay.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "recorder/replay_input.h"
#include "recorder/start_condition.h"
#include "timetravel/restore.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 10'000'000;

std::unique_ptr<Machine> machine_at_start(const RecordingReader& reader,
                                          const std::optional<Position>& from,
                                          ReplayInput& input) {
  const StartCondition start = start_of(reader);
  std::unique_ptr<Machine> machine;
  if (!from) {
    if (reader.start() != Position{0}) {
      machine = std::make_unique<Machine>(start.machine);
      restore_checkpoint(*machine, reader, 0);
    } else {
      machine = make_machine(start, images_of(reader));
    }
  } else {
    const std::optional<std::size_t> checkpoint = reader.checkpoint_before(*from);
    if (!checkpoint) {
      throw Error(ErrorCode::bad_input, reader.name() + ": no checkpoint at or before position " +
                                            grouped(from->steps));
    }
    machine = std::make_unique<Machine>(start.machine);
    restore_checkpoint(*machine, reader, *checkpoint);
  }
  input.rewind_to(machine->position());
  machine->set_input(&input);
  return machine;
}

}  // namespace

ReplayOutcome replay_recording(const RecordingReader& reader, const ReplayOptions& options,
                               const std::function<void(Position)>& progress) {
  ReplayInput input(reader);
  const std::unique_ptr<Machine> machine = machine_at_start(reader, options.from, input);
  machine->set_observer(options.observer);
  machine->set_cancel(options.cancel);
  std::map<Position, Hash128> digests;
  if (options.verify) {
    for (const DigestRecord& record : reader.digests()) digests[record.position] = record.digest;
    for (const CheckpointInfo& info : reader.checkpoints()) digests[info.position] = info.digest;
  }
  const Position end = std::min(options.to, reader.usable_to());
  ReplayOutcome outcome;
  while (true) {
    const Position here = machine->position();
    if (const auto recorded = digests.find(here); recorded != digests.end()) {
      const Hash128 digest = machine->digest();
      if (digest != recorded->second) {
        throw Error(ErrorCode::divergence,
                    reader.name() + ": the replay differs from the recording at position " +
                        grouped(here.steps) + ": digest " + digest.hex() + ", recorded " +
                        recorded->second.hex());
      }
      ++outcome.digests_checked;
    }
    progress(here);
    if (here >= end) break;
    Position next = std::min(end, Position{here.steps + kSliceSteps});
    const auto digest = digests.upper_bound(here);
    if (digest != digests.end()) next = std::min(next, digest->first);
    const MachineStop stop = machine->run({next, 0});
    if (stop == MachineStop::interrupted) break;
    if (stop != MachineStop::reached) {
      throw Error(ErrorCode::divergence,
                  reader.name() + ": the replay ended at position " +
                      grouped(machine->position().steps) + " (" +
                      std::string(end_reason_name(machine->ending().reason)) +
                      "), the recording goes on to " + grouped(end.steps));
    }
  }
  outcome.position = machine->position();
  outcome.digest = machine->digest();
  machine->set_observer(nullptr);
  return outcome;
}

}  // namespace chronovisor
