// verify: check every byte of a recording, then replay it, on several cores if
// asked to, and compare every digest and every checkpoint.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/long_run.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/parser.h"
#include "cli/recorded_range.h"
#include "cli/shard_option.h"
#include "host/host.h"
#include "inspect/divergence_report.h"
#include "recorder/format/recording_reader.h"
#include "session/query_document.h"
#include "session/run_summary.h"
#include "timetravel/divergence.h"
#include "timetravel/verify.h"
#include "vmm/engine/kvm/kvm_engine.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostJobs = 256;

struct VerifyCommandOptions {
  std::string file;
  std::string to;
  std::string from = "start";
  std::string jobs = "1";
  std::string shard;
  std::string engine = "soft";
  std::string kvm_device = kvm::kDevicePath;
  bool bytes_only = false;
  bool json = false;
};

VerifyOptions verify_options(const VerifyCommandOptions& options) {
  VerifyOptions verify;
  require_range_syntax(options.from, options.to);
  const std::uint64_t jobs = parse_number(options.jobs, "--jobs");
  if (jobs == 0 || jobs > kMostJobs) {
    throw Error(ErrorCode::usage, "--jobs: " + options.jobs + " is not from 1 to 256");
  }
  verify.jobs = static_cast<unsigned>(jobs);
  verify.shard = shard_of(options.shard);
  if (options.bytes_only && !options.shard.empty()) {
    throw Error(ErrorCode::usage, "--bytes-only reads the file, which no other machine can");
  }
  if (options.engine != "soft") {
    verify.prepare = kvm::engine_selector(options.engine, options.kvm_device);
  }
  verify.cancel = stop_signal();
  return verify;
}

void choose_range(const VerifyCommandOptions& options, const RecordingReader& reader,
                  VerifyOptions& verify) {
  if (!options.to.empty()) verify.to = covered_place(options.to, reader, "--to");
  if (options.from != "start") verify.from = covered_place(options.from, reader, "--from");
  if (verify.from && *verify.from > verify.to) {
    throw Error(ErrorCode::usage, "--from is past --to");
  }
}

/// The end is missing, and nothing else: the recorder was killed, or the file cut.
bool is_only_cut(const std::vector<Damage>& damage) {
  return !damage.empty() && std::all_of(damage.begin(), damage.end(), [](const Damage& d) {
    return d.kind == DamageKind::being_written || d.kind == DamageKind::unfinished ||
           d.kind == DamageKind::torn_tail;
  });
}

/// The report as it grows; printed once, when the outcome is known.
class Report {
 public:
  explicit Report(const VerifyCommandOptions& options) : as_json_(options.json) {
    json_["file"] = options.file;
  }
  [[nodiscard]] nlohmann::ordered_json& json() { return json_; }
  /// Prints the object (with --json) or `text`, on stdout.
  void finish(const char* result, const std::string& text) {
    json_["result"] = result;
    if (as_json_) {
      std::printf(
          "%s\n",
          json_.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    } else {
      std::fputs(text.c_str(), stdout);
    }
    std::fflush(stdout);
  }

 private:
  bool as_json_;
  nlohmann::ordered_json json_;
};

int report_damage(const std::vector<Damage>& damage, Report& report) {
  report.finish("damaged", "");
  for (const Damage& d : damage) std::fprintf(stderr, "chronovisor: %s\n", d.message.c_str());
  return static_cast<int>(ErrorCode::bad_input);
}

int report_divergence(const RecordingReader& reader, const DivergenceError& error, Report& report) {
  std::fprintf(stderr, "chronovisor: %s\n", error.what());
  report.json()["message"] = error.what();
  report.json()["position"] = error.position().steps;
  try {
    const Divergence divergence = explain_with_progress(reader, {}, error, stop_signal());
    report.json()["divergence"] = nlohmann::ordered_json::parse(divergence_json(divergence, {}));
    report.finish("diverged", divergence_text(divergence, {}));
  } catch (const Error& unexplained) {
    // That it diverged is the finding; a failed explanation must not hide it.
    report.json()["unexplained"] = unexplained.what();
    report.finish("diverged", std::string("  not explained: ") + unexplained.what() + "\n");
  }
  return static_cast<int>(ErrorCode::divergence);
}

int verify(const VerifyCommandOptions& options) {
  VerifyOptions run = verify_options(options);
  Report report(options);
  const auto opened = options.bytes_only ? std::make_unique<RecordingReader>(options.file)
                                         : open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  watch_stop_signals();
  // The file is the same for all shards.
  const std::vector<Damage> damage =
      run.shard.number == 1 ? reader.verify_bytes() : reader.damage();
  if (!options.shard.empty()) {
    report.json()["recording"] = session::queried(reader).id;
    report.json()["shard"] = {{"number", run.shard.number}, {"of", run.shard.of}};
  }
  report.json()["bytes"] = reader.file_bytes();
  report.json()["damage"] = nlohmann::ordered_json::array();
  for (const Damage& d : damage) report.json()["damage"].push_back(d.message);
  const bool cut = is_only_cut(damage);
  if (!damage.empty() && !cut) return report_damage(damage, report);
  const int when_equal = cut ? static_cast<int>(ErrorCode::bad_input) : kDone;
  for (const Damage& d : damage) std::fprintf(stderr, "chronovisor: %s\n", d.message.c_str());
  const std::string sound =
      options.file + ": " +
      (cut ? "the recorder was killed or the file was cut; what is there, " : "") +
      grouped(reader.file_bytes()) + " bytes" + (cut ? ", is" : "") + " sound";
  if (options.bytes_only) {
    report.finish(cut ? "bytes sound, cut" : "bytes sound", sound + "\n");
    return when_equal;
  }
  choose_range(options, reader, run);
  if (const auto end = recorded_end(reader)) run.end_state = end->state;
  const std::uint64_t began = monotonic_ns();
  VerifyOutcome outcome;
  try {
    Progress progress(true);
    outcome = verify_recording(reader, run, [&](std::uint64_t done, std::uint64_t total) {
      progress.show(progress_text("verifying", done, total));
    });
  } catch (const DivergenceError& error) {
    return report_divergence(reader, error, report);
  }
  report.json()["from"] = outcome.from.steps;
  report.json()["position"] = outcome.to.steps;
  report.json()["digests_checked"] = outcome.digests_checked;
  report.json()["checkpoints_checked"] = outcome.checkpoints_checked;
  report.json()["engine"] = options.engine;
  report.json()["stretches"] = outcome.stretches;
  report.json()["seconds"] = static_cast<double>(monotonic_ns() - began) / 1e9;
  const std::string checked = sound + "; " + grouped(outcome.digests_checked) + " digests and " +
                              grouped(outcome.checkpoints_checked) +
                              " checkpoints equal from position " + grouped(outcome.from.steps) +
                              " to " + grouped(outcome.to.steps) + "\n";
  if (outcome.interrupted) {
    report.finish("interrupted", checked);
    throw Error(ErrorCode::host, "interrupted before everything was verified");
  }
  if (outcome.has_end) report.json()["digest"] = outcome.digest.hex();
  report.finish(cut ? "identical, cut" : "identical",
                cut ? checked + options.file +
                          ": the recorder was killed; verified up to position " +
                          grouped(outcome.to.steps) + "\n"
                    : checked);
  return when_equal;
}

}  // namespace

void add_verify(Command& app, Action& action) {
  auto options = std::make_shared<VerifyCommandOptions>();
  Command command =
      app.add_subcommand("verify", "Check every byte, then replay and compare every digest");
  command.footer(
      "Of a recording whose recorder was killed, all that is there is verified; then the\n"
      "status is 3 and the result \"identical, cut\".");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_option("--to", options->to, "Stop at this position").type_name(kPlaceValues);
  command.add_option("--from", options->from, "Start at the checkpoint at or before this position")
      .type_name(kPlaceValues);
  command
      .add_option("-j,--jobs", options->jobs,
                  "Check stretches between checkpoints side by side on this many cores (1)")
      .type_name("NUMBER");
  add_shard_option(command, options->shard,
                   "Only every Nth stretch between checkpoints, from the Ith on; merge joins the "
                   "JSON");
  command
      .add_option("--engine", options->engine,
                  "What executes the replay; kvm goes by single steps (soft)")
      .type_name(kEngineValues);
  command.add_flag("--bytes-only", options->bytes_only, "Check the bytes, do not replay");
  command.add_flag("--json", options->json, "Report as one JSON object on stdout");
  command.add_option("--kvm-device", options->kvm_device, "Where the host's KVM is").group("");
  command.callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace chronovisor::cli
