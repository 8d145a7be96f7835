#include "recorder/counted/counted_conversion.h"

#include <utility>

#include "base/error.h"
#include "recorder/counted/counted_input.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/recording_child.h"
#include "recorder/live/replay_input.h"

namespace chronovisor {
namespace {

/// How often cancelling and progress are looked at.
constexpr std::uint64_t kSliceSteps = 10'000'000;

/// The log of the run with positions, and where it ends.
struct FoundLog {
  std::shared_ptr<const Bytes> recording;  ///< with nothing but the input log
  std::uint64_t events = 0;
  Position end;
  bool guest_ended = false;     ///< by itself; else the recorder stopped there
  std::uint64_t registers = 0;  ///< their hash, where the guest ended
};

[[noreturn]] void fail_interrupted(const RecordingReader& reader) {
  throw Error(ErrorCode::host, reader.name() +
                                   ": interrupted before its events had positions; nothing was "
                                   "changed");
}

void require_not_cancelled(const RecordingReader& reader, const ConversionOptions& options) {
  if (options.cancel.requested()) fail_interrupted(reader);
}

FoundLog find_positions(const RecordingReader& reader, const StartCondition& start,
                        const ConversionOptions& options) {
  auto file = std::make_unique<MemoryOutputFile>();
  FoundLog log;
  log.recording = file->bytes();
  RecordingWriter writer(std::move(file), reader.id(), reader.metadata_json());
  const std::unique_ptr<Machine> machine = make_machine(start, images_of(reader));
  CountedInput input(reader, *machine, [&](const InputEvent& event) { writer.input(event); });
  machine->set_input(&input);
  while (!input.end()) {
    require_not_cancelled(reader, options);
    if (options.counting) options.counting(input.events(), machine->position());
    const Position slice{machine->position().steps + kSliceSteps};
    if (machine->run({slice, 0}, input.done()) == MachineStop::ended && !input.end()) {
      input.guest_ended();
      log.guest_ended = machine->position() == *input.end();
    }
  }
  // The recorder stopped where nothing can ever wake the guest.
  const bool halts = machine->ending().reason == EndReason::halted;
  if (halts && machine->position() == *input.end()) log.guest_ended = true;
  log.events = input.events();
  log.end = *input.end();
  log.registers = registers_hash(machine->cpu());
  machine->set_input(nullptr);
  writer.advance_to(log.end);
  writer.finish(std::nullopt);
  return log;
}

}  // namespace

ConversionResult convert_counted(const RecordingReader& reader, std::unique_ptr<OutputFile> file,
                                 const ConversionOptions& options) {
  const StartCondition start = countable_start_of(reader);
  if (start.parent) {
    throw Error(ErrorCode::bad_input,
                reader.name() + ": a run with counted places must begin at power-on");
  }
  const FoundLog log = find_positions(reader, start, options);
  const RecordingReader positions(std::make_shared<MemoryInputFile>(*log.recording));
  const std::unique_ptr<Machine> machine = make_machine(start, images_of(reader));
  RecordingWriter writer(std::move(file), FileId::random(), reader.metadata_json(), options.writer);
  copy_images(reader, writer);
  ReplayInput input(positions);
  RecorderOptions recorder_options = options.recorder;
  recorder_options.cancel = options.cancel;
  ConversionResult result;
  result.events = log.events;
  {
    RunRecorder recorder(*machine, writer, input, nullptr, options.clock_ns, recorder_options);
    const Position limit = log.guest_ended ? Position{kNever} : log.end;
    result.outcome = recorder.run(limit, [&](Position here) {
      if (options.writing) options.writing(here, log.end);
    });
  }
  require_not_cancelled(reader, options);
  const bool same_end = machine->position() == log.end &&
                        (!log.guest_ended || registers_hash(machine->cpu()) == log.registers);
  if (!same_end) {
    throw Error(ErrorCode::divergence,
                reader.name() + ": with the positions found the run ends at position " +
                    grouped(machine->position().steps) + " instead of " + grouped(log.end.steps));
  }
  writer.finish(options.summary ? std::optional(options.summary(result.outcome, *machine))
                                : std::nullopt);
  return result;
}

}  // namespace chronovisor
