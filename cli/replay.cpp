// replay and verify: run a recording again from its start and compare every
// digest on the way.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/console_output.h"
#include "cli/exit_status.h"
#include "cli/host.h"
#include "recorder/recording_reader.h"
#include "timetravel/replay.h"

namespace chronovisor::cli {
namespace {

struct ReplayCommandOptions {
  std::string file;
  std::string to;
  std::string from = "start";
  std::string serial = "stdio";
  bool no_verify = false;
  bool bytes_only = false;
  bool json = false;
};

void warn_of_damage(const RecordingReader& reader) {
  for (const Damage& damage : reader.damage()) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
  }
}

ReplayOptions replay_options(const ReplayCommandOptions& options) {
  ReplayOptions replay;
  replay.verify = !options.no_verify;
  if (!options.to.empty()) replay.to = {parse_number(options.to, "--to")};
  if (options.from != "start") replay.from = Position{parse_number(options.from, "--from")};
  return replay;
}

std::string progress_text(const char* what, Position here, Position end) {
  const std::uint64_t percent = end.steps == 0 ? 100 : here.steps * 100 / end.steps;
  return std::string(what) + ": " + std::to_string(percent) + "%, position " + grouped(here.steps);
}

int replay(const ReplayCommandOptions& options) {
  const RecordingReader reader(options.file);
  warn_of_damage(reader);
  ConsoleOutput console(options.serial, stdout);
  watch_stop_signals();
  ReplayOptions run = replay_options(options);
  run.observer = &console;
  run.cancel = &stop_signal();
  const std::uint64_t began = monotonic_ns();
  ReplayOutcome outcome;
  {
    Progress progress(!console.on_standard_stream() || isatty(STDOUT_FILENO) == 0);
    outcome = replay_recording(reader, run, [&](Position here) {
      progress.show(progress_text("replaying", here, std::min(run.to, reader.usable_to())));
    });
  }
  console.flush();
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  std::fprintf(stderr, "chronovisor: replayed to position %s in %.1f s, %llu digests equal\n",
               grouped(outcome.position.steps).c_str(), seconds,
               static_cast<unsigned long long>(outcome.digests_checked));
  return kDone;
}

int verify(const ReplayCommandOptions& options) {
  const RecordingReader reader(options.file);
  watch_stop_signals();
  const std::vector<Damage> damage = reader.verify_bytes();
  nlohmann::ordered_json json;
  json["file"] = options.file;
  json["bytes"] = reader.file_bytes();
  json["damage"] = nlohmann::ordered_json::array();
  for (const Damage& d : damage) json["damage"].push_back(d.message);
  const auto report = [&](const char* result) {
    json["result"] = result;
    if (options.json) std::printf("%s\n", json.dump(2).c_str());
  };
  if (!damage.empty()) {
    report("damaged");
    if (!options.json) {
      for (const Damage& d : damage) std::fprintf(stderr, "chronovisor: %s\n", d.message.c_str());
    }
    return static_cast<int>(ErrorCode::bad_input);
  }
  if (options.bytes_only) {
    report("bytes sound");
    return kDone;
  }
  ReplayOptions run = replay_options(options);
  run.cancel = &stop_signal();
  const std::uint64_t began = monotonic_ns();
  try {
    ReplayOutcome outcome;
    {
      Progress progress(true);
      outcome = replay_recording(reader, run, [&](Position here) {
        progress.show(progress_text("verifying", here, std::min(run.to, reader.usable_to())));
      });
    }
    json["position"] = outcome.position.steps;
    json["digests_checked"] = outcome.digests_checked;
    json["digest"] = outcome.digest.hex();
    json["seconds"] = static_cast<double>(monotonic_ns() - began) / 1e9;
    report("identical");
    if (!options.json) {
      std::printf("%s: %s bytes sound; %llu digests equal up to position %s\n", options.file.c_str(),
                  grouped(reader.file_bytes()).c_str(),
                  static_cast<unsigned long long>(outcome.digests_checked),
                  grouped(outcome.position.steps).c_str());
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::divergence) throw;
    json["divergence"] = error.what();
    report("diverged");
    throw;
  }
  return kDone;
}

}  // namespace

void add_replay(CLI::App& app, Action& action) {
  auto options = std::make_shared<ReplayCommandOptions>();
  CLI::App* command = app.add_subcommand("replay", "Show a recording's console again, verified");
  command->add_option("file", options->file, "The recording")->required();
  command->add_option("--to", options->to, "Stop at this position");
  command->add_option("--from", options->from, "Start at the checkpoint at or before this position");
  command->add_option("--serial", options->serial, "stdio, none or file:PATH");
  command->add_flag("--no-verify", options->no_verify, "Do not compare digests");
  command->callback([options, &action] { action = [options] { return replay(*options); }; });
}

void add_verify(CLI::App& app, Action& action) {
  auto options = std::make_shared<ReplayCommandOptions>();
  CLI::App* command =
      app.add_subcommand("verify", "Check every byte, then replay and compare every digest");
  command->add_option("file", options->file, "The recording")->required();
  command->add_option("--to", options->to, "Stop at this position");
  command->add_option("--from", options->from, "Start at the checkpoint at or before this position");
  command->add_flag("--bytes-only", options->bytes_only, "Check the bytes, do not replay");
  command->add_flag("--json", options->json, "Report as one JSON object on stdout");
  command->callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace chronovisor::cli
