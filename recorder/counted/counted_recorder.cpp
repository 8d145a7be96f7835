#include "recorder/counted/counted_recorder.h"

#include "base/error.h"

namespace chronovisor {

CountedRecorder::CountedRecorder(Machine& machine, kvm::CountedEngine& engine,
                                 RecordingWriter& writer, InputSource& live,
                                 const CountedRecorderOptions& options)
    : machine_(machine), engine_(engine), writer_(writer), live_(live), options_(options) {
  if (machine_.config().ns_per_step != 0) {
    throw Error(ErrorCode::usage,
                "a run whose steps are not known cannot tell time by them: ns per step must be 0");
  }
  machine_.set_input(this);
}

CountedRecorder::~CountedRecorder() { machine_.set_input(nullptr); }

MachineStop CountedRecorder::run() {
  const MachineStop stop = machine_.run({{kNever}, 0}, pause_);
  if (!ended_) log_end();
  return stop;
}

Position CountedRecorder::next_look(Position /*now*/) { return {kNever}; }

std::optional<Input> CountedRecorder::take(InputStamp here, const InputRoom& room) {
  if (ended_ || !engine_.recordable()) return std::nullopt;
  if (options_.cancel.requested()) {
    log_end();
    // Not a step further: nothing of it would be in the recording.
    engine_.hold();
    pause_ = true;
    return std::nullopt;
  }
  std::optional<Input> input = live_.take(here, room);
  if (input) log(here.idle_ns, *input);
  return input;
}

/// Every end of a wait is an event: a guest that does nothing but wait comes by the
/// same place again and again, with the same counts.
IdleOutcome CountedRecorder::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  const IdleOutcome outcome = live_.idle(here, deadline_idle_ns);
  if (outcome.kind == IdleOutcome::Kind::deadline || outcome.kind == IdleOutcome::Kind::early) {
    ByteWriter idle_ns;
    idle_ns.integer(outcome.idle_ns);
    log(here.idle_ns, {InputKind::wakeup, 0, idle_ns.take()});
  }
  return outcome;
}

void CountedRecorder::log(std::uint64_t idle_ns, const Input& input) {
  writer_.counted({engine_.place(), idle_ns, false, input.kind, input.device, input.payload},
                  engine_.trust());
  ++events_;
  engine_.restart_counts();
}

void CountedRecorder::log_end() {
  CountedEvent end;
  end.place = engine_.place();
  end.idle_ns = machine_.idle_ns();
  end.ends_run = true;
  writer_.counted(end, engine_.trust());
  ended_ = true;
}

}  // namespace chronovisor
