#include "recorder/live/run_recorder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "recorder/format/page_table.h"

namespace chronovisor {
namespace {

/// Checkpoints may take this much before the budget counts: a boot dirties the
/// most at its beginning.
constexpr double kBudgetGraceNs = 300e6;
/// The writer's clock is looked at this often.
constexpr std::uint64_t kTickSteps = 2'000'000;
/// Closer checkpoints are not taken for the sake of time: a guest that mostly
/// waits takes long for few steps.
constexpr std::uint64_t kLeastSteps = 1ULL << 22;
/// Where the host's time decides, checkpoints are no further apart than this, whatever the
/// budget says: some 5 s.
constexpr std::uint64_t kSeldomSteps = 1ULL << 30;

/// The channel that keeps an output's text; nothing: it is not kept, since a replay
/// makes it again.
std::optional<ConsoleChannel> channel_of(const Output& output) {
  switch (output.kind) {
    case OutputKind::serial:
      if (output.device == 0) return ConsoleChannel::serial0;
      if (output.device == 1) return ConsoleChannel::serial1;
      return std::nullopt;
    case OutputKind::debug:
      if (output.device == 1) return ConsoleChannel::firmware;
      return ConsoleChannel::debug_port;
    case OutputKind::frame:
      return std::nullopt;
    case OutputKind::console:
      return ConsoleChannel::console;
    case OutputKind::parallel:
      return ConsoleChannel::parallel;
  }
  return std::nullopt;
}

}  // namespace

RunRecorder::RunRecorder(Machine& machine, RecordingWriter& writer, InputSource& live,
                         OutputObserver* output, std::function<std::uint64_t()> clock_ns,
                         const RecorderOptions& options)
    : machine_(machine),
      writer_(&writer),
      live_(live),
      output_(output),
      clock_ns_(std::move(clock_ns)),
      options_(options),
      stuck_watch_(options.stuck_after_steps) {
  machine_.set_input(this);
  machine_.outputs().attach(*this);
  machine_.set_port_observer(this);
  machine_.media().set_observer(this);
}

RunRecorder::RunRecorder(Machine& machine, SegmentedTape& tape, InputSource& live,
                         OutputObserver* output, std::function<std::uint64_t()> clock_ns,
                         const RecorderOptions& options)
    : RunRecorder(machine, tape.writer(), live, output, std::move(clock_ns), options) {
  tape_ = &tape;
}

namespace {

/// Putting the machine at a checkpoint takes the rest of a seek. A replay takes no longer than
/// the recording did.
std::uint64_t replay_within(std::uint64_t seek_ns) { return seek_ns - seek_ns / 4; }

}  // namespace

std::uint64_t thinned_within(std::uint64_t seek_ns) {
  return std::bit_floor(std::max<std::uint64_t>(replay_within(seek_ns) / kUsualCheckpointNs, 1));
}

void RecorderOptions::follow_seek_time(std::uint64_t ns) {
  checkpoint_every_ns = replay_within(ns);
  checkpoint_every_steps = kSeldomSteps;
}

RunRecorder::~RunRecorder() {
  machine_.set_input(nullptr);
  machine_.outputs().detach(*this);
  machine_.set_port_observer(nullptr);
  machine_.media().set_observer(nullptr);
  machine_.set_access_observer(nullptr);
}

TapeCounter RunRecorder::counter() const {
  return {machine_.position(), machine_.now().ns, clock_ns_()};
}

bool RunRecorder::cancelled() const { return options_.cancel.requested(); }

/// Runs up to `target` at most, and on to the next arrival when a full segment, or whoever
/// cancels, interrupts the run within a position.
MachineStop RunRecorder::run_to(Position target) {
  pause_ = cancelled();
  const MachineStop stop = machine_.run({target, 0}, pause_);
  if (stop != MachineStop::interrupted) return stop;
  if (machine_.at_arrival() || (cancelled() && !options_.ends_on_arrival)) {
    return cancelled() ? MachineStop::interrupted : MachineStop::reached;
  }
  // What interrupted it is noticed again at the next position.
  return machine_.run({{machine_.position().steps + 1}, 0});
}

void RunRecorder::arrived(Position here) {
  writer_->advance_to(here);
  writer_->tick(clock_ns_());
}

bool RunRecorder::within_budget() const {
  if (options_.checkpoint_budget_percent <= 0) return true;
  const auto passed_ns = static_cast<double>(clock_ns_() - began_ns_);
  return static_cast<double>(costs_.checkpoint_ns - costs_.digest_ns) <=
         kBudgetGraceNs + passed_ns * options_.checkpoint_budget_percent / 100;
}

RunOutcome RunRecorder::run(Position limit, const std::function<void(Position)>& progress) {
  begin();
  stuck_watch_.progress(machine_.position());
  MachineStop stop = MachineStop::reached;
  bool stuck = false;
  while (true) {
    stop = run_to(std::min(next_stop(), limit));
    const Position here = machine_.position();
    arrived(here);
    progress(here);
    if (stop != MachineStop::reached || here >= limit) break;
    checkpoint_if_due(here);
    if ((stuck = ends_as_stuck(limit))) break;
  }
  RunOutcome outcome = end(stop);
  outcome.ended_as_stuck = stuck;
  return outcome;
}

/// Looks whether the guest gets anywhere, and tells when it does not.
/// @return whether the run is to end for it
bool RunRecorder::ends_as_stuck(Position limit) {
  if (options_.stuck_after_steps == 0) return false;
  const bool looks_stuck = stuck_watch_.look(machine_);
  if (stuck_ && stuck_->since != stuck_watch_.since()) stuck_.reset();
  if (!looks_stuck || stuck_) return false;
  StuckGuest guest;
  guest.since = stuck_watch_.since();
  guest.noticed = machine_.position();
  guest.panicked = stuck_watch_.has_panicked();
  trace_loop(guest, limit);
  if (!stuck_marked_) writer_->bookmark({guest.noticed, "stuck"});
  stuck_marked_ = true;
  stuck_ = std::move(guest);
  return options_.stuck && options_.stuck(*stuck_);
}

/// Runs on by single steps, which the guest cannot notice, and notes them.
void RunRecorder::trace_loop(StuckGuest& guest, Position limit) {
  constexpr std::size_t kMostSteps = 64;
  const Cpu& cpu = machine_.cpu();
  while (guest.loop.size() < kMostSteps && machine_.position() < limit) {
    LoopStep step;
    step.rip = cpu.state.gpr[kGprRip];
    step.linear_rip = cpu.linear_rip();
    step.code_bits = cpu.long64() ? 64 : (cpu.state.segment[kCs].big() ? 32 : 16);
    std::copy_n(cpu.state.gpr.begin(), step.gpr.size(), step.gpr.begin());
    for (std::size_t n = 0; n < step.segment_base.size(); ++n) {
      step.segment_base[n] = cpu.state.segment[n].base;
    }
    if (!guest.loop.empty() && guest.loop.front().linear_rip == step.linear_rip) {
      guest.whole_turn = true;
      return;
    }
    port_read_.reset();
    const MachineStop stop = run_to({machine_.position().steps + 1});
    arrived(machine_.position());
    step.port = port_read_;
    guest.loop.push_back(step);
    if (stop != MachineStop::reached) return;
  }
}

void RunRecorder::begin() {
  began_ns_ = clock_ns_();
  checkpoint();
  // The first checkpoint is the guest as loaded; it has no choice and no weight.
  costs_ = {};
  next_checkpoint_ = {machine_.position().steps + options_.checkpoint_every_steps};
  left_one_out_ = false;
}

Position RunRecorder::next_stop() const {
  const std::uint64_t here = machine_.position().steps;
  // One that is due may have to wait for the next arrival.
  return {std::min(here + kTickSteps, std::max(next_checkpoint_.steps, here + 1))};
}

void RunRecorder::stopped() {
  const Position here = machine_.position();
  arrived(here);
  if (machine_.at_arrival()) checkpoint_if_due(here);
}

/// So long after the last checkpoint that going back to here would be slow.
bool RunRecorder::overdue(Position here) const {
  return options_.checkpoint_every_ns != 0 && options_.checkpoints &&
         here.steps - last_checkpoint_.steps >= kLeastSteps &&
         clock_ns_() - last_checkpoint_ns_ >= options_.checkpoint_every_ns;
}

/// On arrival at `here`.
void RunRecorder::checkpoint_if_due(Position here) {
  const bool full = tape_ != nullptr && machine_.at_arrival() && tape_->is_due(counter());
  const bool due = here >= next_checkpoint_;
  if (full || (due && left_one_out_) || ((due || overdue(here)) && within_budget())) {
    checkpoint();
    left_one_out_ = false;
  } else if (due) {
    digest_only(here);
    left_one_out_ = true;
  }
  while (next_checkpoint_ <= here) next_checkpoint_.steps += options_.checkpoint_every_steps;
}

RunOutcome RunRecorder::end(MachineStop stop) {
  RunOutcome outcome;
  outcome.stop = stop;
  outcome.ending = machine_.ending();
  outcome.position = machine_.position();
  outcome.idle_ns = machine_.idle_ns();
  arrived(outcome.position);
  bookmark_ending(outcome);
  // A guest that ended in the middle of a position (a triple fault, a wait that
  // nothing can end) is not in the state at that position; it gets no checkpoint.
  if (machine_.at_arrival()) {
    checkpoint();
  } else {
    close_interval(outcome.position);
  }
  outcome.digest = machine_.digest();
  outcome.panicked = stuck_watch_.has_panicked();
  outcome.interrupts_enabled = machine_.cpu().flags.test(kIf);
  outcome.stuck = stuck_;
  outcome.last_ports = ports_.latest();
  costs_.run_ns = clock_ns_() - began_ns_;
  return outcome;
}

void RunRecorder::bookmark(const std::string& name) {
  arrived(machine_.position());
  writer_->bookmark({machine_.position(), name});
}

void RunRecorder::bookmark_ending(const RunOutcome& outcome) {
  const EndReason reason = outcome.ending.reason;
  if (reason != EndReason::triple_fault && reason != EndReason::exception_loop &&
      reason != EndReason::debug_exit) {
    return;
  }
  writer_->bookmark({outcome.position, std::string(end_reason_name(reason))});
}

void RunRecorder::checkpoint() {
  const std::uint64_t began_ns = clock_ns_();
  const Position here = machine_.position();
  close_interval(here);
  if (tape_ != nullptr && tape_->is_due(counter())) {
    writer_ = &tape_->begin_segment(counter());
    write_checkpoint(here);
    tape_->commit_segment();
    if (options_.segment_begun) options_.segment_begun();
  } else {
    write_checkpoint(here);
  }
  last_checkpoint_ = here;
  last_checkpoint_ns_ = clock_ns_();
  costs_.checkpoint_ns += last_checkpoint_ns_ - began_ns;
}

/// Stores what was touched since the interval began, and begins the next.
void RunRecorder::close_interval(Position here) {
  if (!options_.index || !options_.checkpoints) return;
  if (interval_from_ && *interval_from_ < here) {
    writer_->interval_index(*interval_from_, here, accesses_.take().encode());
  }
  interval_from_ = here;
  machine_.set_access_observer(&accesses_);
}

/// The digest of a checkpoint that is left out: digests are where the spacing
/// says, whatever the host's speed.
void RunRecorder::digest_only(Position here) {
  const std::uint64_t began_ns = clock_ns_();
  take_digest(here);
  costs_.checkpoint_ns += clock_ns_() - began_ns;
}

void RunRecorder::take_digest(Position here) {
  const std::uint64_t began_ns = clock_ns_();
  last_digest_ = machine_.digest();
  writer_->digest({here, last_digest_});
  if (here >= next_checkpoint_) costs_.digest_ns += clock_ns_() - began_ns;
}

void RunRecorder::write_checkpoint(Position here) {
  take_digest(here);
  const std::vector<std::uint32_t> changed = machine_.close_epoch();
  const std::size_t count = writer_->checkpoint_count();
  // A recording that does not begin at power-on begins at a checkpoint.
  const bool needed =
      count == 0 && (writer_->start() != Position{} || options_.begin_with_checkpoint);
  if (!options_.checkpoints && !needed) return;
  CheckpointRecord record;
  record.position = here;
  record.idle_ns = machine_.idle_ns();
  record.digest = last_digest_;
  record.sections = machine_.save_sections();
  const auto number = static_cast<std::uint32_t>(count);
  record.parent = chain_parent(number);
  const std::vector<std::uint32_t> since_parent = changed_pages_.taken(number, changed);
  if (record.parent) {
    for (const std::uint32_t page : since_parent) {
      record.pages.push_back({page, machine_.page_hash(page)});
    }
  } else {
    machine_.pages().for_each_page([&](std::uint64_t page) {
      record.pages.push_back({page, machine_.page_hash(page)});
    });
  }
  writer_->checkpoint(record, [&](const PageRecord& page, PageBytes out) {
    std::memcpy(out.data(), machine_.pages().bytes(page.page).data(), kPageSize);
  });
}

Position RunRecorder::next_look(Position now) {
  if (cancelled() || (tape_ != nullptr && tape_->is_due(counter()))) pause_ = true;
  return live_.next_look(now);
}

std::optional<Input> RunRecorder::take(InputStamp here, const InputRoom& room) {
  // A machine that is stopped in the middle of a position and goes on asks again,
  // perhaps after deliveries; a replay hands out all inputs on arrival.
  if (asked_ == here) return std::nullopt;
  std::optional<Input> input = live_.take(here, room);
  if (input) {
    log(here, *input);
  } else {
    asked_ = here;
  }
  return input;
}

IdleOutcome RunRecorder::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  // A guest that mostly sleeps takes long for a slice of steps.
  arrived(here.position);
  stuck_watch_.progress(here.position);
  const IdleOutcome outcome = live_.idle(here, deadline_idle_ns);
  if (outcome.kind == IdleOutcome::Kind::early) {
    log(here, {InputKind::wakeup, 0, wakeup_payload(outcome.idle_ns)});
  }
  writer_->tick(clock_ns_());
  return outcome;
}

void RunRecorder::log(InputStamp here, const Input& input) {
  stuck_watch_.progress(here.position);
  writer_->input({here.position, here.idle_ns, input.kind, input.device, input.payload});
}

void RunRecorder::console(Position position, ConsoleChannel channel, std::uint8_t byte) {
  writer_->console({position, machine_.idle_ns(), channel, ByteView(&byte, 1)});
  stuck_watch_.progress(position);
  ConsoleWatch& watch = watches_[static_cast<std::size_t>(channel)];
  if (const auto message = watch.add(position, byte)) {
    if (*message == CrashMessage::panic) stuck_watch_.panicked();
    if (const auto bookmark = crashes_.next(*message, watch.line_start())) {
      writer_->bookmark(*bookmark);
    }
  }
  writer_->before_output();
}

void RunRecorder::port_was_read(Position /*position*/, std::uint16_t port) {
  port_read_ = port;
  stuck_watch_.port_read();
}

void RunRecorder::port_was_written(Position position, std::uint16_t port, unsigned width,
                                   std::uint32_t value) {
  ports_.add({position, port, width, value});
}

void RunRecorder::block_read(std::uint32_t medium, std::uint64_t block,
                             std::optional<ByteView> content) {
  if (options_.keep_blocks || !content) writer_->block(medium, block, content);
}

void RunRecorder::output(Position position, const Output& output) {
  if (const auto channel = channel_of(output)) {
    for (const std::uint8_t byte : output.payload) console(position, *channel, byte);
  } else if (output.kind == OutputKind::frame) {
    writer_->sent_frame(position, machine_.idle_ns(), output.device, output.payload);
    stuck_watch_.progress(position);
    writer_->before_output();
  }
  if (output_ != nullptr) output_->output(position, output);
}

}  // namespace chronovisor
