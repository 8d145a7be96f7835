// index: makes the interval index of a recording where it is missing.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/long_run.h"
#include "cli/open_recording.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/shard_option.h"
#include "host/host.h"
#include "recorder/edit/index_part.h"
#include "recorder/edit/new_file.h"
#include "recorder/edit/rewrite.h"
#include "timetravel/index_build.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostJobs = 256;

struct IndexOptions {
  std::string file;
  std::string output;
  std::string jobs = "0";
  std::string shard;
  bool force = false;
  bool json = false;
};

struct IndexReport {
  IndexState state;
  std::size_t built = 0;
  bool cancelled = false;
  double seconds = 0;
};

/// Completes the index of the recording at `path`. What was finished before a
/// cancel is kept.
IndexReport complete_index(const std::string& path, unsigned jobs) {
  const std::uint64_t began = monotonic_ns();
  IndexReport report;
  BuiltIndex built;
  {
    const auto opened = open_with_positions(path);
    const RecordingReader& reader = *opened;
    if (!reader.damage().empty()) {
      throw Error(ErrorCode::bad_input, reader.damage().front().message +
                                            "; an index is only added to a whole recording "
                                            "(index -o NEW makes one)");
    }
    report.state = index_state(reader);
    Progress progress(true);
    built = build_index(reader, report.state, jobs, stop_signal(),
                        [&](std::uint64_t done, std::uint64_t total) {
                          progress.show(progress_text("indexing", done, total));
                        });
  }
  append_intervals(path, built.intervals);
  report.built = built.intervals.size();
  report.cancelled = built.cancelled;
  report.seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  return report;
}

/// A copy of the recording, which gets its name when it is indexed.
IndexReport index_copy(const IndexOptions& options, unsigned jobs) {
  NewFile copy({options.output, {options.file}, options.force, Replaceable::recordings},
               stop_signal());
  {
    const RecordingReader reader(options.file);
    warn_of_damage(reader);
    const RecordingReader* const source = &reader;
    rewrite_recording({&source, 1}, copy.open(), {});
  }
  const IndexReport report = complete_index(copy.name_until_commit(), jobs);
  copy.commit();
  return report;
}

/// Of what is missing only what a shard is to make, for merge to add to the recording.
int index_shard(const IndexOptions& options, unsigned jobs) {
  if (options.output.empty()) {
    throw Error(ErrorCode::usage, "--shard needs -o PART, which merge adds to the recording");
  }
  const Shard shard = shard_of(options.shard);
  watch_stop_signals();
  NewFile output({options.output, {options.file}, options.force}, stop_signal());
  const auto opened = open_with_positions(options.file);
  IndexState state = index_state(*opened);
  IndexState own;
  for (std::size_t n = 0; n < state.missing.size(); ++n) {
    if (shard.takes(n)) own.missing.push_back(state.missing[n]);
  }
  own.missing_steps = state.missing_steps / shard.of;
  BuiltIndex built;
  {
    Progress progress(true);
    built = build_index(*opened, own, jobs, stop_signal(),
                        [&](std::uint64_t done, std::uint64_t total) {
                          progress.show(progress_text("indexing", done, total));
                        });
  }
  if (built.cancelled) throw Error(ErrorCode::host, "interrupted; index again");
  output.open()->append(
      encode_index_part({opened->id(), shard.number, shard.of, std::move(built.intervals)}));
  output.commit();
  std::fprintf(stderr, "chronovisor: %s: %zu of %zu intervals that were missing\n",
               options.output.c_str(), own.missing.size(), state.missing.size());
  return kDone;
}

int index(const IndexOptions& options) {
  const std::uint64_t jobs = parse_number(options.jobs, "--jobs");
  if (jobs > kMostJobs) {
    throw Error(ErrorCode::usage, "--jobs: " + options.jobs + " is not from 0 to 256");
  }
  if (options.force && options.output.empty()) {
    throw Error(ErrorCode::usage, "--force goes with --output");
  }
  if (!options.output.empty()) require_file_name(options.output);
  if (!options.shard.empty()) return index_shard(options, static_cast<unsigned>(jobs));
  watch_stop_signals();
  const bool in_place = options.output.empty();
  const std::string& result = in_place ? options.file : options.output;
  const IndexReport report = in_place ? complete_index(options.file, static_cast<unsigned>(jobs))
                                      : index_copy(options, static_cast<unsigned>(jobs));
  if (options.json) {
    nlohmann::ordered_json json;
    json["file"] = result;
    json["intervals"] = report.state.intervals;
    json["missing"] = report.state.missing.size();
    json["damaged"] = report.state.damaged;
    json["built"] = report.built;
    json["steps"] = report.state.missing_steps;
    json["seconds"] = report.seconds;
    json["bytes"] = std::filesystem::file_size(result);
    json["interrupted"] = report.cancelled;
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "chronovisor: %s: %zu intervals, %zu were missing, %zu built in %.1f s\n",
                 result.c_str(), report.state.intervals, report.state.missing.size(), report.built,
                 report.seconds);
  }
  if (report.state.intervals == 0) {
    std::fprintf(stderr, "chronovisor: without checkpoints there are no intervals to index\n");
  }
  if (report.state.damaged != 0 && in_place) {
    std::fprintf(stderr,
                 "chronovisor: %zu damaged indexes stay in the file beside the new ones; "
                 "index -o NEW leaves them out\n",
                 report.state.damaged);
  }
  if (report.cancelled) {
    throw Error(ErrorCode::host, "interrupted; index again for the rest");
  }
  return kDone;
}

}  // namespace

void add_index(Command& app, Action& action) {
  auto options = std::make_shared<IndexOptions>();
  Command command = app.add_subcommand(
      "index", "Make the index that searches go by, where it is missing or damaged");
  command.add_option("file", options->file, "The recording; it is added to")
      .type_name("FILE")
      .required();
  add_output_option(command, options->output, "Leave FILE alone, write an indexed copy");
  command.add_option("-j,--jobs", options->jobs, "Threads (one a core)").type_name("NUMBER");
  add_shard_option(command, options->shard,
                   "Only every Nth interval that is missing, from the Ith on, into -o PART; merge "
                   "adds the parts to the recording");
  add_force_flag(command, options->force, Replaceable::recordings);
  command.add_flag("--json", options->json, "Report as one JSON object on stdout");
  command.callback([options, &action] { action = [options] { return index(*options); }; });
}

}  // namespace chronovisor::cli
