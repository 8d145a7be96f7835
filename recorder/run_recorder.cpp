#include "recorder/run_recorder.h"

#include <algorithm>
#include <cstring>

namespace chronovisor {
namespace {

/// The writer's clock is looked at this often.
constexpr std::uint64_t kTickSteps = 4'000'000;

}  // namespace

RunRecorder::RunRecorder(Machine& machine, RecordingWriter& writer, InputSource& live,
                         MachineObserver* output, std::function<std::uint64_t()> clock_ns,
                         const RecorderOptions& options)
    : machine_(machine),
      writer_(writer),
      live_(live),
      output_(output),
      clock_ns_(std::move(clock_ns)),
      options_(options) {
  machine_.set_input(this);
  machine_.set_observer(this);
}

RunRecorder::~RunRecorder() {
  machine_.set_input(nullptr);
  machine_.set_observer(nullptr);
}

RunOutcome RunRecorder::run(Position limit, const std::function<void(Position)>& progress) {
  checkpoint();
  Position next_checkpoint{machine_.position().steps + options_.checkpoint_every_steps};
  RunOutcome outcome;
  while (true) {
    const Position slice{machine_.position().steps + kTickSteps};
    outcome.stop = machine_.run({std::min({slice, next_checkpoint, limit}), 0});
    const Position here = machine_.position();
    writer_.advance_to(here);
    writer_.tick(clock_ns_());
    progress(here);
    if (outcome.stop != MachineStop::reached || here >= limit) break;
    if (here >= next_checkpoint) {
      checkpoint();
      next_checkpoint.steps += options_.checkpoint_every_steps;
    }
  }
  outcome.ending = machine_.ending();
  outcome.position = machine_.position();
  // A guest that ended in the middle of a position (a triple fault, a wait that
  // nothing can end) is not in the state at that position; it gets no checkpoint.
  if (machine_.at_arrival()) checkpoint();
  outcome.digest = machine_.digest();
  return outcome;
}

void RunRecorder::checkpoint() {
  const std::vector<std::uint32_t> pages = machine_.close_epoch();
  last_digest_ = machine_.digest();
  const Position here = machine_.position();
  writer_.digest({here, last_digest_});
  if (!options_.checkpoints) return;
  CheckpointRecord record;
  record.position = here;
  record.idle_ns = machine_.idle_ns();
  record.digest = last_digest_;
  const std::size_t count = writer_.checkpoint_count();
  if (count > 0) record.parent = static_cast<std::uint32_t>(count - 1);
  record.sections = machine_.save_sections();
  for (const std::uint32_t page : pages) record.pages.push_back({page, machine_.page_hash(page)});
  writer_.checkpoint(record, [&](const PageRecord& page, PageBytes out) {
    std::memcpy(out.data(), machine_.ram().host(page.page * kPageSize), kPageSize);
  });
}

Position RunRecorder::next_look(Position now) { return live_.next_look(now); }

std::optional<Input> RunRecorder::take(InputStamp here, InputRoom room) {
  std::optional<Input> input = live_.take(here, room);
  if (input) log(here, *input);
  return input;
}

IdleOutcome RunRecorder::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  writer_.tick(clock_ns_());
  const IdleOutcome outcome = live_.idle(here, deadline_idle_ns);
  if (outcome.kind == IdleOutcome::Kind::early) {
    log(here, {InputKind::wakeup, 0, wakeup_payload(outcome.idle_ns)});
  }
  writer_.tick(clock_ns_());
  return outcome;
}

void RunRecorder::log(InputStamp here, const Input& input) {
  writer_.input({here.position, here.idle_ns, input.kind, input.device, input.payload});
}

void RunRecorder::serial_output(Position position, std::uint8_t byte) {
  writer_.console({position, machine_.idle_ns(), ConsoleChannel::serial0, ByteView(&byte, 1)});
  writer_.before_output();
  if (output_ != nullptr) output_->serial_output(position, byte);
}

void RunRecorder::debug_output(Position position, std::uint8_t byte) {
  writer_.console({position, machine_.idle_ns(), ConsoleChannel::debug_port, ByteView(&byte, 1)});
  writer_.before_output();
  if (output_ != nullptr) output_->debug_output(position, byte);
}

}  // namespace chronovisor
