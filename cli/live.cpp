// live: goes on from a position of a recording with input from outside, as a
// recording of its own.
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/live_run.h"
#include "cli/long_run.h"
#include "cli/network_options.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/parser.h"
#include "cli/recorded_range.h"
#include "host/host.h"
#include "inspect/divergence_report.h"
#include "recorder/live/recording_child.h"
#include "session/media_beyond.h"
#include "timetravel/replay.h"

namespace chronovisor::cli {
namespace {

struct LiveOptions {
  RunOptions run;
  std::string file;
  std::string at = "end";
  NetOptions nets;
};

Position departure_of(const LiveOptions& options, const RunPlan& plan,
                      const RecordingReader& parent) {
  const Position at = covered_place(options.at, parent, "--at");
  require_guest_runs(parent, at);
  if (plan.limit <= at) {
    throw Error(ErrorCode::usage, "--limit: position " + grouped(plan.limit.steps) +
                                      " is not after position " + grouped(at.steps) +
                                      ", where the run begins");
  }
  return at;
}

std::unique_ptr<Machine> restored(const RecordingReader& parent, Position at) {
  Progress progress(true);
  std::unique_ptr<Machine> machine = machine_at(parent, at, stop_signal(), [&](Position here) {
    progress.show("going to position " + grouped(at.steps) + ": at " + grouped(here.steps));
  });
  if (machine->ending().reason != EndReason::none) {
    throw Error(ErrorCode::usage, parent.name() + ": the guest ended at position " +
                                      grouped(at.steps) + " (" +
                                      std::string(end_reason_name(machine->ending().reason)) +
                                      "), and cannot go on from there; choose an earlier position");
  }
  return machine;
}

int live(const LiveOptions& options) {
  const auto opened = open_with_positions(options.file);
  const RecordingReader& parent = *opened;
  RunPlan plan = plan_run(options.run, {options.file},
                          plug_networks(options.nets, start_of(parent).machine.cards));
  plan.recorder.begin_with_checkpoint = true;
  warn_of_damage(parent);
  const Position at = departure_of(options, plan, parent);
  watch_stop_signals();
  std::unique_ptr<Machine> machine;
  try {
    machine = restored(parent, at);
  } catch (const DivergenceError& error) {
    std::fprintf(stderr, "chronovisor: %s\n", error.what());
    const Divergence divergence = explain_with_progress(parent, {}, error, stop_signal());
    std::fputs(divergence_text(divergence, {}).c_str(), stderr);
    return static_cast<int>(ErrorCode::divergence);
  }
  session::MediaBeyond beyond = session::media_beyond(parent);
  for (const std::string& trouble : beyond.missing) {
    std::fprintf(stderr,
                 "chronovisor: warning: %s; what was not read of it before is an I/O error for "
                 "the guest\n",
                 trouble.c_str());
  }
  if (beyond.media) machine->media().set_source(beyond.media);
  Departure departure;
  departure.position = at;
  departure.digest = machine->digest();
  StartCondition start = child_start(parent, departure);
  start.engine = options.run.engine;
  start.idle = plan.idle;
  start.host = host_description();
  start.created_utc = utc_text(unix_seconds());
  return run_live(options.run, plan, start, *machine,
                  [&](RecordingWriter& writer) { copy_images(parent, writer); });
}

}  // namespace

void add_live(Command& app, Action& action) {
  auto options = std::make_shared<LiveOptions>();
  Command command = app.add_subcommand(
      "live", "Go on from a position of a recording with new input, as a recording of its own");
  command.add_option("file", options->file, "The recording to go on from; it stays as it is")
      .type_name("FILE")
      .required();
  command.add_option("--at", options->at, "Where to go on from (end)").type_name(kPlaceValues);
  add_plug_options(command, options->nets);
  add_run_options(command, options->run);
  command.callback([options, &action] { action = [options] { return live(*options); }; });
}

}  // namespace chronovisor::cli
