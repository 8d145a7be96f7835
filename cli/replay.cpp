// replay: run a recording again and show its console, comparing every digest
// on the way.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/live_display.h"
#include "cli/long_run.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/recorded_range.h"
#include "host/console_output.h"
#include "host/host.h"
#include "inspect/divergence_report.h"
#include "recorder/edit/new_file.h"
#include "recorder/format/recording_reader.h"
#include "timetravel/divergence.h"
#include "timetravel/replay.h"
#include "vmm/engine/kvm/kvm_engine.h"

namespace chronovisor::cli {
namespace {

struct ReplayCommandOptions {
  std::string file;
  std::string to;
  std::string from = "start";
  std::string engine = "soft";
  std::string kvm_device = kvm::kDevicePath;
  std::string serial = "stdio";
  DisplayOptions display;
  bool no_verify = false;
  bool force = false;
};

ReplayOptions replay_options(const ReplayCommandOptions& options, const RecordingReader& reader) {
  ReplayOptions replay;
  replay.verify = !options.no_verify;
  if (!options.to.empty()) replay.to = covered_place(options.to, reader, "--to");
  if (options.engine != "soft") {
    replay.prepare = kvm::engine_selector(options.engine, options.kvm_device);
  }
  if (options.from != "start") replay.from = covered_place(options.from, reader, "--from");
  if (replay.from && *replay.from > replay.to) {
    throw Error(ErrorCode::usage, "--from is past --to");
  }
  return replay;
}

void explain(const RecordingReader& reader, const ReplayOptions& run,
             const DivergenceError& error) {
  std::fprintf(stderr, "chronovisor: %s\n", error.what());
  const Divergence divergence = explain_with_progress(reader, run, error, run.cancel);
  std::fputs(divergence_text(divergence, {}).c_str(), stderr);
}

int replay(const ReplayCommandOptions& options) {
  require_range_syntax(options.from, options.to);
  require_free_serial(options.serial, {"", {options.file}, options.force});
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  ReplayOptions run = replay_options(options, reader);
  ConsoleOutput console(options.serial, stdout);
  console.stop_on_failure(stop_signal());
  watch_stop_signals();
  run.observer = &console;
  run.cancel = stop_signal();
  std::optional<LiveDisplay> display;
  run.prepare = [&display, &options, select = run.prepare](Machine& machine) {
    if (select) select(machine);
    display.emplace(options.display, machine, nullptr);
  };
  const auto stopped = [] { return stop_signal().load(); };
  if (!options.display.place.empty()) {
    run.on_idle = [&](std::uint64_t ns) { display->keep_pace(stopped, ns); };
  }
  const std::uint64_t began = monotonic_ns();
  const Position end = std::min(run.to, reader.usable_to());
  ReplayOutcome outcome;
  try {
    Progress progress(!console.on_standard_stream() || isatty(STDOUT_FILENO) == 0);
    outcome = replay_recording(reader, run, [&](Position here) {
      progress.show(progress_text("replaying", here.steps, end.steps));
      display->keep_pace(stopped);
    });
  } catch (const DivergenceError& error) {
    console.flush();
    explain(reader, run, error);
    return static_cast<int>(ErrorCode::divergence);
  }
  console.finish();
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  std::fprintf(stderr, "chronovisor: %s to position %s in %.1f s, %s\n",
               outcome.interrupted ? "interrupted; replayed" : "replayed",
               grouped(outcome.position.steps).c_str(), seconds,
               options.no_verify ? "no digests compared"
                                 : (grouped(outcome.digests_checked) + " digests equal").c_str());
  return outcome.interrupted ? static_cast<int>(ErrorCode::host) : kDone;
}

}  // namespace

void add_replay(Command& app, Action& action) {
  auto options = std::make_shared<ReplayCommandOptions>();
  Command command = app.add_subcommand("replay", "Show a recording's console again, verified");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_option("--to", options->to, "Stop at this position").type_name(kPlaceValues);
  command.add_option("--engine", options->engine, "What executes; kvm goes by single steps (soft)")
      .type_name(kEngineValues);
  command.add_option("--from", options->from, "Start at the checkpoint at or before this position")
      .type_name(kPlaceValues);
  command.add_option("--serial", options->serial, "Where the console goes (stdio)")
      .type_name(kSerialValues);
  add_display_options(command, options->display);
  add_force_flag(command, options->force, Replaceable::all_but_recordings);
  command.add_flag("--no-verify", options->no_verify, "Do not compare digests");
  command.add_option("--kvm-device", options->kvm_device, "Where the host's KVM is").group("");
  command.callback([options, &action] { action = [options] { return replay(*options); }; });
}

}  // namespace chronovisor::cli
