#include "cli/live_run.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/keep_option.h"
#include "cli/live_display.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/scripted_run.h"
#include "cli/space_watch.h"
#include "host/console_output.h"
#include "host/host.h"
#include "host/live_input.h"
#include "host/network/card_links.h"
#include "inspect/polling.h"
#include "recorder/edit/new_file.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "session/run_summary.h"
#include "vmm/engine/kvm/kvm_engine.h"

namespace chronovisor::cli {
namespace {

SyncPolicy sync_of(const std::string& text) {
  if (text == "none") return SyncPolicy::none;
  if (text == "interval") return SyncPolicy::interval;
  if (text == "output") return SyncPolicy::output;
  throw Error(ErrorCode::usage, "--sync: \"" + text + "\" is none of none, interval and output");
}

/// A limit that is less than what a recording begins with holds only once that is dropped.
void say_if_too_small(const std::string& given, const KeepPolicy& keep, std::uint64_t bytes) {
  if (keep.unit != KeepPolicy::Unit::bytes || bytes <= keep.amount) return;
  std::fprintf(stderr,
               "chronovisor: --keep %s: the images that the guest starts from take %s by "
               "themselves; until they can be dropped there is more on the disk "
               "(--reference-images leaves them out)\n",
               given.c_str(), size_text(bytes).c_str());
}

/// What is being written: one file, a flight recording, or parts.
class Tape {
 public:
  Tape(const RunOptions& options, const RunPlan& plan, const StartCondition& start,
       const Machine& machine, const ImageEmbedder& embed)
      : start_(machine.position()) {
    const TapeCounter here{start_, machine.now().ns, monotonic_ns()};
    if (plan.keep) {
      auto flight = std::make_unique<FlightRecorder>(options.output, start.to_json(), plan.writer,
                                                     *plan.keep, here, embed);
      say_if_too_small(options.keep, *plan.keep, flight->disk_bytes());
      flight_ = flight.get();
      segments_ = std::move(flight);
      return;
    }
    if (plan.parts) {
      auto parted = std::make_unique<PartedRecorder>(options.output, start.to_json(), plan.writer,
                                                     *plan.parts, here, embed);
      parted_ = parted.get();
      segments_ = std::move(parted);
      return;
    }
    WriterOptions writer_options = plan.writer;
    writer_options.start = start_;
    whole_.emplace(std::make_unique<PosixOutputFile>(options.output, ExistingFile::replace),
                   FileId::random(), start.to_json(), writer_options);
    embed(*whole_);
  }

  void start(std::optional<RunRecorder>& recorder, Machine& machine, InputSource& live,
             OutputObserver* console, const RecorderOptions& options) {
    if (segments_) {
      recorder.emplace(machine, *segments_, live, console, monotonic_ns, options);
    } else {
      recorder.emplace(machine, *whole_, live, console, monotonic_ns, options);
    }
  }
  [[nodiscard]] std::uint64_t disk_bytes() {
    return segments_ ? segments_->disk_bytes() : whole_->file_bytes();
  }
  /// Said once: that parts are larger than was asked for.
  [[nodiscard]] std::optional<std::string> large_parts(const std::string& path) {
    const auto bytes = parted_ != nullptr ? parted_->larger_than_asked() : std::nullopt;
    if (!bytes || std::exchange(said_large_, true)) return std::nullopt;
    return path + ": its parts will have " + size_text(*bytes) +
           " or more, since each begins with all of the guest's memory";
  }
  /// The one at work.
  [[nodiscard]] RecordingWriter& writer() { return segments_ ? segments_->writer() : *whole_; }
  /// Bytes of the segment before the present one of a flight recording.
  [[nodiscard]] std::uint64_t ended_bytes() const { return flight_ ? flight_->ended_bytes() : 0; }
  /// Ends the recording and adds to `report` what the file holds.
  void finish(const std::string& path, const Machine& machine, nlohmann::ordered_json& report) {
    const std::string summary =
        report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    if (segments_) {
      segments_->finish(summary, {machine.position(), machine.now().ns, monotonic_ns()});
      const RecordingReader reader(path);
      std::uint64_t inputs = 0;
      for (const auto& [kind, count] : reader.input_counts()) inputs += count;
      report["start"] = reader.start().steps;
      report["checkpoints"] = reader.checkpoints().size();
      report["input_events"] = inputs;
      report["bytes"] = reader.file_bytes();
      if (reader.part()) report["parts"] = reader.parts().size();
      return;
    }
    whole_->finish(summary);
    report["start"] = start_.steps;
    report["checkpoints"] = whole_->checkpoint_count();
    report["input_events"] = whole_->input_count();
    report["bytes"] = whole_->file_bytes();
  }

 private:
  Position start_;
  std::unique_ptr<SegmentedTape> segments_;
  const FlightRecorder* flight_ = nullptr;  ///< the same, if it is one
  const PartedRecorder* parted_ = nullptr;  ///< the same, if it is one
  bool said_large_ = false;
  std::optional<RecordingWriter> whole_;
};

double millions_a_second(std::uint64_t steps, double seconds) {
  return seconds > 0 ? static_cast<double>(steps) / seconds / 1e6 : 0.0;
}

/// Triple faults and loops of exceptions, a debug exit that says so, a processor that
/// halted with interrupts off, a kernel's panic, a guest stopped for being stuck.
bool ended_abnormally(const RunOutcome& outcome) {
  if (outcome.panicked || outcome.ended_as_stuck) return true;
  switch (outcome.ending.reason) {
    case EndReason::triple_fault:
    case EndReason::exception_loop:
      return true;
    case EndReason::debug_exit:
      return outcome.ending.code != 0;
    case EndReason::halted:
      return !outcome.interrupts_enabled;
    case EndReason::none:
    case EndReason::poweroff:
    case EndReason::reset:
      break;
  }
  return false;
}

std::string port_text(const PortWrite& write) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "0x%x <- 0x%0*x at position ", write.port,
                static_cast<int>(2 * write.width), write.value);
  return text.data() + grouped(write.position.steps);
}

/// What the machine looked like when its guest went down, for whoever has no debugger
/// at hand.
void report_last_state(const RunOutcome& outcome, const Machine& machine) {
  const bool halted = outcome.ending.reason == EndReason::halted;
  if (!halted && outcome.ending.reason != EndReason::triple_fault) return;
  std::string ports;
  for (const PortWrite& write : outcome.last_ports) ports += "\n  " + port_text(write);
  std::fprintf(stderr, "chronovisor: the guest %s at rip 0x%llx, IF=%d%s; %s%s\n",
               halted ? "halted" : "shut down",
               static_cast<unsigned long long>(machine.cpu().state.gpr[kGprRip]),
               outcome.interrupts_enabled ? 1 : 0,
               !halted                      ? ""
               : outcome.interrupts_enabled ? ": nothing is left that could interrupt it"
                                            : ": nothing can wake it",
               ports.empty() ? "it wrote no port" : "the last ports it wrote:", ports.c_str());
}

nlohmann::ordered_json ports_json(const RunOutcome& outcome) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const PortWrite& write : outcome.last_ports) {
    json.push_back({{"position", write.position.steps},
                    {"port", write.port},
                    {"width", write.width},
                    {"value", write.value}});
  }
  return json;
}

nlohmann::ordered_json stuck_json(const StuckGuest& guest, const Polling& polling) {
  nlohmann::ordered_json json;
  json["since"] = guest.since.steps;
  json["position"] = guest.noticed.steps;
  json["panicked"] = guest.panicked;
  json["rip"] = polling.rip;
  json["port"] =
      polling.port ? nlohmann::ordered_json(*polling.port) : nlohmann::ordered_json(nullptr);
  json["memory"] = nlohmann::ordered_json::array();
  for (const PolledMemory& word : polling.memory) {
    json["memory"].push_back({{"address", word.address},
                              {"bytes", word.bytes},
                              {"value", word.value ? nlohmann::ordered_json(*word.value)
                                                   : nlohmann::ordered_json(nullptr)}});
  }
  json["instructions"] = polling.instructions;
  json["text"] = polling_text(polling, guest);
  return json;
}

nlohmann::ordered_json network_json(const CardLinks& links) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const NetworkCounts& counts : links.counts()) {
    json.push_back({{"sent", counts.sent},
                    {"sent_dropped", counts.sent_dropped},
                    {"received", counts.received},
                    {"received_dropped", counts.received_dropped}});
  }
  return json;
}

void report_undefined(const CpuCounters& counters) {
  if (counters.undefined_instructions == 0) return;
  std::string bytes;
  for (const std::uint8_t byte : counters.last_undefined) {
    std::array<char, 4> text{};
    std::snprintf(text.data(), text.size(), " %02x", byte);
    bytes += text.data();
  }
  std::fprintf(stderr,
               "chronovisor: the guest got #UD %llu times; the last at rip 0x%llx, bytes%s\n",
               static_cast<unsigned long long>(counters.undefined_instructions),
               static_cast<unsigned long long>(counters.last_undefined_rip), bytes.c_str());
}

void report_run(const RunOptions& options, const RunOutcome& outcome, Position start,
                const std::string& reason, double seconds, const nlohmann::ordered_json& summary) {
  if (options.json) {
    std::printf(
        "%s\n",
        summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return;
  }
  const std::uint64_t steps = outcome.position.steps - start.steps;
  const std::string from = start == Position{} ? "" : " from position " + grouped(start.steps);
  std::fprintf(stderr,
               "chronovisor: %s: %s steps%s in %.1f s (%.0f million a second), ended by %s; %s, "
               "digest %s\n",
               options.is_kept ? options.output.c_str() : "the run", grouped(steps).c_str(),
               from.c_str(), seconds, millions_a_second(steps, std::max(seconds, 1e-9)),
               reason.c_str(), size_text(summary["bytes"].get<std::uint64_t>()).c_str(),
               outcome.digest.hex().c_str());
}

/// Each would replace what the other has written.
void require_different_files(
    const std::vector<std::pair<const char*, const std::string*>>& places) {
  for (std::size_t n = 0; n < places.size(); ++n) {
    for (std::size_t m = 0; m < n; ++m) {
      if (*places[n].second != *places[m].second || !places[n].second->starts_with("file:"))
        continue;
      throw Error(ErrorCode::usage, std::string(places[m].first) + " and " + places[n].first +
                                        ": each would replace the other's file");
    }
  }
}

/// Before anything is replaced: what another program writes stays its own.
void require_finished(const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) return;
  if (!PosixInputFile(path).is_being_written()) return;
  throw Error(ErrorCode::host, path + ": is being written by another program");
}

void require_free_outputs(const RunOptions& options, const RunPlan& plan,
                          const std::vector<std::string>& inputs) {
  OutputPlan output{options.output, inputs, options.force, Replaceable::recordings};
  require_free_output(output);
  // The recording may not be there yet, so that only its name can be compared.
  if (options.serial == "file:" + options.output) {
    throw Error(ErrorCode::usage, "--serial: " + options.output + " is the recording");
  }
  require_different_files({{"--serial", &options.serial},
                           {"--debugcon", &options.debugcon},
                           {"--console", &options.console},
                           {"--parallel", &options.parallel}});
  require_free_serial(options.serial, output);
  for (const std::string* place : {&options.debugcon, &options.console, &options.parallel}) {
    require_free_serial(*place, output);
  }
  std::vector<std::string> others = inputs;
  others.push_back(options.output);
  require_free_serial(options.serial, {"", others, options.force});
  for (const std::string* place : {&options.debugcon, &options.console, &options.parallel}) {
    require_free_serial(*place, {"", others, options.force});
  }
  require_finished(options.output);
  for (const std::string& part : further_parts(options.output)) {
    // Of a run at work in parts the last one alone is open for writing.
    require_finished(part);
    if (!plan.parts) continue;
    // Those of an earlier recording are replaced as well.
    output.path = part;
    require_free_output(output);
  }
  if (!plan.keep) return;
  for (const char* suffix : {FlightRecorder::kOlderSuffix, FlightRecorder::kNewSuffix}) {
    output.path = options.output + suffix;
    require_free_output(output);
  }
}

PartPlan plan_parts(const RunOptions& options, std::uint64_t seek_ns) {
  constexpr std::uint64_t kLeastPart = std::uint64_t{1} << 20;
  const auto refuse = [](const char* why) {
    throw Error(ErrorCode::usage, std::string("--part-size: ") + why);
  };
  if (!options.keep.empty()) refuse("--keep keeps one file");
  if (options.replication.wanted()) refuse("a backup takes one file");
  if (options.no_checkpoints) refuse("a part begins at a checkpoint (--no-checkpoints)");
  PartPlan parts;
  parts.part_bytes = parse_size(options.part_size, "--part-size");
  if (parts.part_bytes < kLeastPart) refuse("less than 1M");
  parts.most_thinned = thinned_within(seek_ns);
  return parts;
}

}  // namespace

RunPlan plan_run(const RunOptions& options, const std::vector<std::string>& inputs,
                 std::vector<NetworkOptions> networks) {
  RunPlan plan;
  plan.networks = std::move(networks);
  const bool live = std::any_of(plan.networks.begin(), plan.networks.end(), is_live);
  require_file_name(options.output);
  plan.terminal = options.serial == "stdio" && isatty(STDIN_FILENO) != 0;
  const bool watched = plan.terminal || live || !options.display.place.empty();
  plan.idle = options.idle.empty() ? (watched ? "wait" : "warp") : options.idle;
  if (plan.idle != "warp" && plan.idle != "wait") {
    throw Error(ErrorCode::usage, "--idle: \"" + plan.idle + "\" is neither warp nor wait");
  }
  plan.script = script_of(options.script, options.keys);
  if (!options.limit.empty()) plan.limit = {parse_number(options.limit, "--limit")};
  plan.writer.sync = sync_of(options.sync);
  if (!options.keep.empty()) plan.keep = parse_keep(options.keep);
  require_sound(options.replication);
  if (options.replication.wanted()) {
    plan.writer.hold_ns = 0;  // a mark follows what is in the file
  }
  plan.recorder.checkpoints = !options.no_checkpoints;
  plan.recorder.checkpoint_budget_percent = options.checkpoint_budget;
  plan.recorder.index = !options.no_index;
  plan.recorder.checkpoint_every_ns = kUsualCheckpointNs;
  if (!options.checkpoint_every.empty()) {
    plan.recorder.checkpoint_every_ns = 0;
    plan.recorder.checkpoint_every_steps =
        std::max<std::uint64_t>(parse_number(options.checkpoint_every, "--checkpoint-every"), 1000);
  }
  if (options.seek_seconds != 0 && !options.checkpoint_every.empty()) {
    throw Error(
        ErrorCode::usage,
        "--seek-time and --checkpoint-every both say where checkpoints are; give one of them");
  }
  const auto seek_ns = static_cast<std::uint64_t>(options.seek_seconds * 1e9);
  if (!options.part_size.empty()) plan.parts = plan_parts(options, seek_ns);
  // Where old parts are thinned, new ones have as many checkpoints as they have otherwise.
  if (seek_ns != 0 && (!plan.parts || plan.parts->most_thinned == 1)) {
    plan.recorder.follow_seek_time(seek_ns);
  }
  if (!options.stuck_after.empty()) {
    plan.recorder.stuck_after_steps = parse_number(options.stuck_after, "--stuck-after");
  }
  if (options.stop_when_stuck && plan.recorder.stuck_after_steps == 0) {
    throw Error(ErrorCode::usage, "--stop-when-stuck: --stuck-after 0 looks for no such guest");
  }
  require_free_outputs(options, plan, inputs);
  return plan;
}

int run_live(const RunOptions& options, const RunPlan& plan, const StartCondition& start,
             Machine& machine, const ImageEmbedder& embed) {
  RecorderOptions recorder_options = plan.recorder;
  kvm::select_engine(machine, options.engine, options.kvm_device);
  // Where the engine does not see every access, `index` adds it later, from a replay.
  if (!machine.engine().tells_observers()) recorder_options.index = false;
  const bool replicated = options.replication.wanted();
  replica::OutputGate gate(replica::OutputGate::Begins::open);
  OutputRouter& outside = replicated ? gate.outside() : machine.outputs();
  ConsoleOutput console(options.serial, options.json ? stderr : stdout);
  console.stop_on_failure(stop_signal());
  ConsoleOutput firmware_console(options.debugcon, options.json ? stderr : stdout,
                                 ConsoleOutput::Of::firmware);
  firmware_console.stop_on_failure(stop_signal());
  const Listening listening(outside, &firmware_console);
  ConsoleOutput virtio_console(options.console, options.json ? stderr : stdout,
                               ConsoleOutput::Of::console);
  virtio_console.stop_on_failure(stop_signal());
  const Listening listening_to_console(outside, &virtio_console);
  ConsoleOutput printer(options.parallel, options.json ? stderr : stdout,
                        ConsoleOutput::Of::parallel);
  printer.stop_on_failure(stop_signal());
  const Listening listening_to_printer(outside, &printer);
  const Position from = machine.position();
  watch_stop_signals();
  std::atomic<bool>& stop = stop_signal();
  LiveInput live(options.serial == "stdio" ? STDIN_FILENO : -1, plan.terminal,
                 plan.idle == "wait" ? IdlePolicy::wait : IdlePolicy::warp, stop);
  CardLinks links(plan.networks, live.inbox());
  Tape tape(options, plan, start, machine, embed);

  std::optional<RawTerminal> raw;
  if (plan.terminal) {
    const std::string what = options.is_kept ? "recording to " + options.output : "running";
    std::fprintf(stderr, "chronovisor: %s; Ctrl-A x ends, Ctrl-A h helps\n", what.c_str());
    raw.emplace(STDIN_FILENO);
  }
  ScriptedRun script(plan.script, machine, live);
  LiveDisplay display(options.display, machine, &live.inbox());
  recorder_options.cancel = stop;
  recorder_options.ends_on_arrival = !replicated;
  std::optional<Polling> polling;
  recorder_options.stuck = [&](const StuckGuest& guest) {
    polling = polling_of(machine, guest);
    console.flush();
    const char* const end = plan.terminal ? "\r\n" : "\n";
    std::fprintf(stderr, "%schronovisor: the guest has made no progress for %s steps: %s%s",
                 console.on_standard_stream() && plan.terminal ? end : "",
                 grouped(guest.noticed.steps - guest.since.steps).c_str(),
                 polling_text(*polling, guest).c_str(), end);
    return options.stop_when_stuck;
  };
  const std::uint64_t began = monotonic_ns();
  RunOutcome outcome;
  RecorderCosts costs;
  std::optional<Replication> replication;
  {
    std::optional<RunRecorder> recorder;
    InputSource& source = links.with_captures(script.source(), machine.config().ns_per_step);
    if (replicated) {
      const auto writer = [&]() -> RecordingWriter& { return tape.writer(); };
      replication.emplace(options.replication, options.output, gate, source, writer, stop);
      recorder_options.segment_begun = [&] {
        replication->segment_begun({machine.position(), machine.idle_ns()}, tape.ended_bytes());
      };
    }
    tape.start(recorder, machine, replicated ? replication->input() : source,
               replicated ? nullptr : &console, recorder_options);
    const Listening gated(machine.outputs(), replicated ? &gate : nullptr);
    if (replicated) outside.attach(console);
    links.connect(outside);
    std::optional<replica::ControlServer> control;
    if (!options.replication.peer.control.empty()) {
      control.emplace(options.replication.peer.control,
                      [&](const std::string& word) { return replication->answer(word); });
    }
    live.set_on_wait([&] {
      recorder->waiting();
      if (replication) replication->waiting();
      display.refresh();
    });
    Progress progress(!console.on_standard_stream() ||
                      (!options.json && isatty(STDOUT_FILENO) == 0));
    SpaceWatch space(options.output);
    outcome = recorder->run(plan.limit, [&](Position here) {
      display.refresh();
      const auto warn = [&](const std::optional<std::string>& warning) {
        if (!warning) return;
        const char* const end = plan.terminal ? "\r\n" : "\n";
        std::fprintf(stderr, "%schronovisor: warning: %s%s", plan.terminal ? end : "",
                     warning->c_str(), end);
      };
      if (!plan.keep) warn(space.look(tape.disk_bytes(), monotonic_ns()));
      warn(tape.large_parts(options.output));
      const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
      const double speed = millions_a_second(here.steps - from.steps, std::max(seconds, 0.001));
      progress.show("recording: " + grouped(here.steps) + " steps, " +
                    std::to_string(static_cast<int>(speed)) + " million a second, " +
                    size_text(tape.disk_bytes()));
    });
    costs = recorder->costs();
    if (replication) {
      replication->ended({machine.position(), machine.idle_ns()},
                         outcome.ending.reason != EndReason::none);
    }
  }
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  raw.reset();
  nlohmann::ordered_json summary =
      nlohmann::ordered_json::parse(run_summary(outcome, from, plan.limit, seconds, machine));
  summary["checkpoint_seconds"] = static_cast<double>(costs.checkpoint_ns) / 1e9;
  if (!plan.networks.empty()) summary["network"] = network_json(links);
  if (outcome.stuck && polling) summary["stuck"] = stuck_json(*outcome.stuck, *polling);
  if (replication) summary["replication"] = nlohmann::ordered_json::parse(replication->status());
  const bool failed = ended_abnormally(outcome);
  if (failed) {
    summary["interrupts_enabled"] = outcome.interrupts_enabled;
    summary["last_ports"] = ports_json(outcome);
  }
  tape.finish(options.output, machine, summary);
  if (options.is_kept) summary["file"] = options.output;

  if (script.left() != 0) {
    std::fprintf(stderr, "chronovisor: steps of the script that were not reached: %zu\n",
                 script.left());
  }
  report_undefined(machine.cpu().counters());
  report_last_state(outcome, machine);
  const std::string ending = outcome.ending.reason != EndReason::none
                                 ? describe(outcome.ending)
                                 : exit_reason(outcome, plan.limit);
  report_run(options, outcome, from, ending, seconds, summary);
  console.finish();
  firmware_console.finish();
  virtio_console.finish();
  printer.finish();
  if (replication && replication->lost()) {
    throw Error(ErrorCode::host, "the backup has taken over from this machine");
  }
  return failed ? kGuestFailed : kDone;
}

void add_run_options(Command& command, RunOptions& options) {
  add_output_option(command, options.output, "The recording to write").required();
  add_force_flag(command, options.force, Replaceable::recordings);
  command.add_option("--kvm-device", options.kvm_device, "Where the host's KVM is").group("");
  command.add_option("--engine", options.engine, "What executes; kvm goes by single steps (soft)")
      .type_name(kEngineValues);
  command
      .add_option("--idle", options.idle,
                  "warp: jump to the next timer; wait: follow the clock (default on a terminal, "
                  "with a live network and with --display)")
      .type_name("warp|wait");
  command
      .add_option("--serial", options.serial,
                  "The guest's serial line; a file is for its output only (stdio)")
      .type_name(kSerialValues);
  command
      .add_option("--debugcon", options.debugcon,
                  "What firmware says of itself, to port 0x402 of a pc-2 (none)")
      .type_name(kSerialValues);
  command.add_option("--console", options.console, "What goes out by a virtio console (none)")
      .type_name(kSerialValues);
  command.add_option("--parallel", options.parallel, "What is printed by the parallel port (none)")
      .type_name(kSerialValues);
  add_display_options(command, options.display);
  command
      .add_option("--keys", options.keys,
                  "Typed on the guest's keyboard: text, \\n, <f12>, <ctrl-c>, <2s> to wait")
      .type_name("KEYS");
  command
      .add_option("--script", options.script,
                  "Keys, clicks and waits from a file, before --keys (docs/DEVICES.md)")
      .type_name("FILE");
  command.add_option("--limit", options.limit, "Stop at this position").type_name("POSITION");
  command
      .add_option("--checkpoint-every", options.checkpoint_every,
                  "Steps between checkpoints, 1000 at least (67108864, or 250 ms of the run where "
                  "that is fewer)")
      .type_name("STEPS");
  command
      .add_option("--seek-time", options.seek_seconds,
                  "So long may a seek take: checkpoints follow what a replay costs; with "
                  "--part-size those of old parts are thinned as far (0.05 to 60)")
      .type_name("SECONDS")
      .in_range(0.05, 60.0);
  command
      .add_option("--checkpoint-budget", options.checkpoint_budget,
                  "Percent of the run's time that checkpoints may take (4; 0: no limit)")
      .type_name("PERCENT")
      .in_range(0.0, 100.0);
  add_keep_option(command, options.keep);
  command
      .add_option("--part-size", options.part_size,
                  "Go on in another file when one has this size: -o FILE, FILE.part2 ... are one "
                  "recording, opened by the name of the first")
      .type_name("SIZE");
  command.add_flag("--no-checkpoints", options.no_checkpoints, "Digests only");
  command.add_flag("--no-index", options.no_index,
                   "Do not gather the index that lets searches skip intervals");
  command.add_option("--sync", options.sync, "When data is forced to disk (none)")
      .type_name("none|interval|output");
  command
      .add_option("--stuck-after", options.stuck_after,
                  "Say that the guest is stuck, and what it polls, after so many steps in one loop "
                  "without input or output (4,000,000,000; 0: never)")
      .type_name("STEPS");
  add_replication_options(command, options.replication);
  command.add_flag("--stop-when-stuck", options.stop_when_stuck, "End the run then, with status 1");
  command.add_flag("--json", options.json, "Report the outcome as one JSON object on stdout");
}

}  // namespace chronovisor::cli
