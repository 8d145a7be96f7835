#include "cli/live_run.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/output_path.h"
#include "host/console_output.h"
#include "host/host.h"
#include "host/live_input.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "vmm/engine/kvm/kvm_engine.h"

namespace chronovisor::cli {
namespace {

SyncPolicy sync_of(const std::string& text) {
  if (text == "none") return SyncPolicy::none;
  if (text == "interval") return SyncPolicy::interval;
  if (text == "output") return SyncPolicy::output;
  throw Error(ErrorCode::usage, "--sync: \"" + text + "\" is none of none, interval and output");
}

/// "60s", "500ms", "10min" or "1h" of virtual time; with "-wall", of the
/// clock's; "500M" and the like, bytes.
KeepPolicy parse_keep(const std::string& text) {
  std::string number = text;
  KeepPolicy keep;
  if (number.ends_with("-wall")) {
    keep.unit = KeepPolicy::Unit::wall_time;
    number.resize(number.size() - 5);
  }
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000}, {"h", 3'600'000'000'000}};
  for (const auto& [unit, ns] : kUnits) {
    if (!number.ends_with(unit)) continue;
    number.resize(number.size() - unit.size());
    const std::uint64_t value = parse_number(number, "--keep");
    if (value == 0 || value > 1'000'000'000'000 / (ns / 1'000'000)) {
      throw Error(ErrorCode::usage, "--keep: \"" + text + "\" is out of range");
    }
    keep.amount = value * ns;
    return keep;
  }
  if (keep.unit == KeepPolicy::Unit::wall_time) {
    throw Error(ErrorCode::usage, "--keep: \"" + text + "\" has no unit of time (ms, s, min, h)");
  }
  keep.unit = KeepPolicy::Unit::bytes;
  keep.amount = parse_size(number, "--keep");
  if (keep.amount < (1ULL << 20)) {
    throw Error(ErrorCode::usage,
                "--keep: \"" + text + "\" is less than 1M; for time, give a unit: 60s");
  }
  return keep;
}

/// The file being written: whole, or as a flight recording.
class Tape {
 public:
  Tape(const RunOptions& options, const RunPlan& plan, const StartCondition& start,
       const Machine& machine, const ImageEmbedder& embed)
      : start_(machine.position()) {
    if (plan.keep) {
      flight_.emplace(options.output, start.to_json(), plan.writer, *plan.keep,
                      TapeCounter{start_, machine.now().ns, monotonic_ns()}, embed);
      return;
    }
    WriterOptions writer_options = plan.writer;
    writer_options.start = start_;
    whole_.emplace(std::make_unique<PosixOutputFile>(options.output, ExistingFile::replace),
                   FileId::random(), start.to_json(), writer_options);
    embed(*whole_);
  }

  void start(std::optional<RunRecorder>& recorder, Machine& machine, InputSource& live,
             MachineObserver* console, const RecorderOptions& options) {
    if (flight_) {
      recorder.emplace(machine, *flight_, live, console, monotonic_ns, options);
    } else {
      recorder.emplace(machine, *whole_, live, console, monotonic_ns, options);
    }
  }
  [[nodiscard]] std::uint64_t disk_bytes() {
    return flight_ ? flight_->disk_bytes() : whole_->file_bytes();
  }
  /// Ends the recording and adds to `report` what the file holds.
  void finish(const std::string& path, const Machine& machine, nlohmann::ordered_json& report) {
    const std::string summary = report.dump();
    if (flight_) {
      flight_->finish(summary, {machine.position(), machine.now().ns, monotonic_ns()});
      const RecordingReader reader(path);
      std::uint64_t inputs = 0;
      for (const InputRange& range : reader.input_ranges()) inputs += range.events;
      report["start"] = reader.start().steps;
      report["checkpoints"] = reader.checkpoints().size();
      report["input_events"] = inputs;
      report["bytes"] = reader.file_bytes();
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
  std::optional<FlightRecorder> flight_;
  std::optional<RecordingWriter> whole_;
};

double millions_a_second(std::uint64_t steps, double seconds) {
  return seconds > 0 ? static_cast<double>(steps) / seconds / 1e6 : 0.0;
}

nlohmann::ordered_json summary_of(const RunOutcome& outcome, Position start, Position limit,
                                  double seconds, const Machine& machine) {
  nlohmann::ordered_json json;
  json["instructions"] = outcome.position.steps;
  json["seconds"] = seconds;
  json["mips"] = millions_a_second(outcome.position.steps - start.steps, seconds);
  json["exit"] = {{"reason", exit_reason(outcome, limit)}, {"code", outcome.ending.code}};
  json["digest"] = outcome.digest.hex();
  json["virtual_seconds"] = static_cast<double>(machine.now().ns) / 1e9;
  const CpuCounters counters = machine.cpu().counters();
  json["undefined_instructions"] = counters.undefined_instructions;
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
    std::printf("%s\n", summary.dump(2).c_str());
    return;
  }
  const std::uint64_t steps = outcome.position.steps - start.steps;
  const std::string from = start == Position{} ? "" : " from position " + grouped(start.steps);
  std::fprintf(stderr,
               "chronovisor: %s: %s steps%s in %.1f s (%.0f million a second), ended by %s%s; %s, "
               "digest %s\n",
               options.output.c_str(), grouped(steps).c_str(), from.c_str(), seconds,
               millions_a_second(steps, std::max(seconds, 1e-9)), reason.c_str(),
               outcome.ending.reason == EndReason::debug_exit
                   ? (" with code " + std::to_string(outcome.ending.code)).c_str()
                   : "",
               size_text(summary["bytes"].get<std::uint64_t>()).c_str(),
               outcome.digest.hex().c_str());
}

}  // namespace

std::string exit_reason(const RunOutcome& outcome, Position limit) {
  if (outcome.ending.reason != EndReason::none) {
    return std::string(end_reason_name(outcome.ending.reason));
  }
  return outcome.position >= limit ? "limit" : "interrupted";
}

std::string run_summary(const RunOutcome& outcome, Position start, Position limit, double seconds,
                        const Machine& machine) {
  return summary_of(outcome, start, limit, seconds, machine).dump();
}

RunPlan plan_run(const RunOptions& options) {
  RunPlan plan;
  plan.terminal = options.serial == "stdio" && isatty(STDIN_FILENO) != 0;
  plan.idle = options.idle.empty() ? (plan.terminal ? "wait" : "warp") : options.idle;
  if (plan.idle != "warp" && plan.idle != "wait") {
    throw Error(ErrorCode::usage, "--idle: \"" + plan.idle + "\" is neither warp nor wait");
  }
  if (!options.limit.empty()) plan.limit = {parse_number(options.limit, "--limit")};
  plan.writer.sync = sync_of(options.sync);
  if (!options.keep.empty()) plan.keep = parse_keep(options.keep);
  plan.recorder.checkpoints = !options.no_checkpoints;
  plan.recorder.checkpoint_budget_percent = options.checkpoint_budget;
  plan.recorder.index = !options.no_index;
  plan.recorder.checkpoint_every_ns = kUsualCheckpointNs;
  if (!options.checkpoint_every.empty()) {
    plan.recorder.checkpoint_every_ns = 0;
    plan.recorder.checkpoint_every_steps =
        std::max<std::uint64_t>(parse_number(options.checkpoint_every, "--checkpoint-every"), 1000);
  }
  if (!options.force) {
    refuse_to_replace_foreign_file(options.output);
    if (plan.keep) {
      refuse_to_replace_foreign_file(options.output + FlightRecorder::kOlderSuffix);
      refuse_to_replace_foreign_file(options.output + FlightRecorder::kNewSuffix);
    }
  }
  return plan;
}

int run_live(const RunOptions& options, const RunPlan& plan, const StartCondition& start,
             Machine& machine, const ImageEmbedder& embed) {
  RecorderOptions recorder_options = plan.recorder;
  kvm::select_engine(machine, options.engine, options.kvm_device);
  // Where the engine does not see every access, `index` adds it later, from a replay.
  if (!machine.engine().tells_observers()) recorder_options.index = false;
  ConsoleOutput console(options.serial, options.json ? stderr : stdout);
  const Position from = machine.position();
  Tape tape(options, plan, start, machine, embed);

  watch_stop_signals();
  std::atomic<bool>& stop = stop_signal();
  std::optional<RawTerminal> raw;
  if (plan.terminal) {
    std::fprintf(stderr, "chronovisor: recording to %s; Ctrl-A x ends, Ctrl-A h helps\n",
                 options.output.c_str());
    raw.emplace(STDIN_FILENO);
  }
  LiveInput live(options.serial == "stdio" ? STDIN_FILENO : -1, plan.terminal,
                 plan.idle == "wait" ? IdlePolicy::wait : IdlePolicy::warp, stop);
  recorder_options.cancel = &stop;
  const std::uint64_t began = monotonic_ns();
  RunOutcome outcome;
  RecorderCosts costs;
  {
    std::optional<RunRecorder> recorder;
    tape.start(recorder, machine, live, &console, recorder_options);
    live.set_on_wait([&] { recorder->waiting(); });
    Progress progress(!console.on_standard_stream() ||
                      (!options.json && isatty(STDOUT_FILENO) == 0));
    outcome = recorder->run(plan.limit, [&](Position here) {
      const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
      const double speed = millions_a_second(here.steps - from.steps, std::max(seconds, 0.001));
      progress.show("recording: " + grouped(here.steps) + " steps, " +
                    std::to_string(static_cast<int>(speed)) + " million a second, " +
                    size_text(tape.disk_bytes()));
    });
    costs = recorder->costs();
  }
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  raw.reset();
  nlohmann::ordered_json summary = summary_of(outcome, from, plan.limit, seconds, machine);
  summary["checkpoint_seconds"] = static_cast<double>(costs.checkpoint_ns) / 1e9;
  tape.finish(options.output, machine, summary);
  summary["file"] = options.output;
  console.flush();

  report_undefined(machine.cpu().counters());
  report_run(options, outcome, from, exit_reason(outcome, plan.limit), seconds, summary);
  const bool failed = outcome.ending.reason == EndReason::triple_fault ||
                      outcome.ending.reason == EndReason::exception_loop ||
                      (outcome.ending.reason == EndReason::debug_exit && outcome.ending.code != 0);
  return failed ? kGuestFailed : kDone;
}

void add_run_options(CLI::App& command, RunOptions& options) {
  command.add_option("-o,--output", options.output, "The recording to write")->required();
  command.add_flag("-f,--force", options.force,
                   "Replace the output file even if it is not a recording");
  command.add_option("--kvm-device", options.kvm_device, "Where the host's KVM is")->group("");
  command.add_option("--engine", options.engine,
                     "What executes: soft, or kvm by single steps (soft)");
  command.add_option(
      "--idle", options.idle,
      "warp: jump to the next timer; wait: follow the clock (default on a terminal)");
  command.add_option("--serial", options.serial, "stdio, none or file:PATH (output only)");
  command.add_option("--limit", options.limit, "Stop at this position");
  command.add_option("--checkpoint-every", options.checkpoint_every,
                     "Steps between checkpoints (67108864, or 250 ms of the run where "
                     "that is fewer)");
  command
      .add_option("--checkpoint-budget", options.checkpoint_budget,
                  "Percent of the run's time that checkpoints may take (4; 0: no limit)")
      ->check(CLI::Range(0.0, 100.0));
  command.add_option("--keep", options.keep,
                     "Flight recorder: keep only the last 60s (virtual time), 60s-wall, or 500M");
  command.add_flag("--no-checkpoints", options.no_checkpoints, "Digests only");
  command.add_flag("--no-index", options.no_index,
                   "Do not gather the index that lets searches skip intervals");
  command.add_option("--sync", options.sync,
                     "When data is forced to disk: none, interval, or output");
  command.add_flag("--json", options.json, "Report the outcome as one JSON object on stdout");
}

}  // namespace chronovisor::cli
