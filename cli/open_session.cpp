#include "cli/open_session.h"

#include <utility>

#include "base/error.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/parser.h"
#include "host/host.h"
#include "recorder/format/records.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostJobs = 256;

TimelineOptions timeline_options(const SessionOptions& options) {
  const std::uint64_t jobs = parse_number(options.jobs, "--jobs");
  if (jobs > kMostJobs) {
    throw Error(ErrorCode::usage, "--jobs: " + options.jobs + " is not from 0 to 256");
  }
  TimelineOptions made;
  made.cache_bytes = parse_size(options.cache, "--cache");
  made.jobs = static_cast<unsigned>(jobs);
  return made;
}

api::ContextOptions context_options(const SessionOptions& options, replica::StatusWatch* watch) {
  api::ContextOptions made{options.allow_changes, options.source_folders};
  if (watch != nullptr) {
    made.run_status = [watch] {
      const replica::StatusWatch::Seen seen = watch->latest();
      return api::RunStatus{seen.json, seen.trouble};
    };
  }
  return made;
}

std::unique_ptr<RecordingReader> opened(const std::string& file) {
  if (file.empty()) throw Error(ErrorCode::usage, "a recording is needed: FILE");
  std::unique_ptr<RecordingReader> reader = open_with_positions(file);
  warn_of_damage(*reader);
  watch_stop_signals();
  return reader;
}

}  // namespace

Command add_session_command(Command& app, const char* name, const char* help,
                            SessionOptions& options) {
  Command command = app.add_subcommand(name, help);
  command.add_option("--at", options.at, "Where to begin (start)").type_name(kPlaceValues);
  command.add_option("--cache", options.cache, "Memory for checkpoints while travelling (1G)")
      .type_name("SIZE");
  command.add_option("-j,--jobs", options.jobs, "Threads that search (one a core)")
      .type_name("NUMBER");
  command
      .add_option("--symbols", options.symbols,
                  "ELF file of a program of the guest's, for names; may be given again")
      .type_name("FILE")
      .allow_extra_args(false);
  command
      .add_option("--source-dir", options.source_folders,
                  "Folder of source files that may be shown, for lines; may be given again")
      .type_name("DIR")
      .allow_extra_args(false);
  command
      .add_option(
          "--control", options.control,
          "Control socket of the replicated run that makes the recording, for how it stands")
      .type_name("PATH");
  command.add_flag("--allow-changes", options.allow_changes,
                   "Allow what changes the recording's bookmarks, or the guest on a branch");
  return command;
}

OpenSession::OpenSession(const SessionOptions& options, AllowedFiles files)
    : reader_(opened(options.file)),
      watch_(options.control.empty() ? nullptr
                                     : std::make_unique<replica::StatusWatch>(options.control)),
      timeline_(*reader_, timeline_options(options)),
      debugging_(timeline_, std::move(files), options.symbols),
      context_(debugging_, context_options(options, watch_.get())),
      desks_(context_, executor_, timeline_options(options), options.symbols) {
  timeline_.seek({recorded_place(options.at, *reader_, "--at", options.symbols), 0}, stop_signal());
  executor_.run([this] { desks_.note(); });
  executor_.set_idle_job([this](CancelToken cancel) { timeline_.prepare_way_back(cancel); });
}

std::string OpenSession::title() const {
  return reader_->name() + " at position " + grouped(timeline_.now().position.steps) + " of " +
         grouped(timeline_.end().steps);
}

}  // namespace chronovisor::cli
