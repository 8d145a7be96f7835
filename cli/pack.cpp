// pack and trim: recordings made out of recordings.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/output_path.h"
#include "host/host.h"
#include "recorder/edit/rewrite.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

struct PackOptions {
  std::vector<std::string> inputs;
  std::string output;
  std::uint64_t thin = 1;
  bool no_checkpoints = false;
  int level = 12;
  std::string from;
  std::string to;
  bool force = false;
  bool json = false;
};

/// Pages compressed together in a packed recording: a little slower to read at
/// random, and smaller.
constexpr std::uint32_t kPackedPagesPerBatch = 256;

/// The summary of a recording whose end was cut off.
std::string trimmed_summary(const RecordingReader& source, Position end) {
  nlohmann::ordered_json json;
  if (const auto text = source.summary_json()) {
    json = nlohmann::ordered_json::parse(*text, nullptr, false);
    if (!json.is_object()) json = nlohmann::ordered_json::object();
  }
  json["instructions"] = end.steps;
  json["exit"] = {{"reason", "trimmed"}, {"code", 0}};
  json.erase("digest");
  json.erase("virtual_seconds");
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void report(const PackOptions& options, std::uint64_t before, const RewriteResult& result) {
  if (options.json) {
    nlohmann::ordered_json json;
    json["file"] = options.output;
    json["start"] = result.start.steps;
    json["end"] = result.end.steps;
    json["checkpoints"] = result.checkpoints;
    json["images"] = result.images;
    json["images_dropped"] = result.images_dropped;
    json["bytes_before"] = before;
    json["bytes"] = result.bytes;
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::fprintf(stderr, "chronovisor: %s: positions %s to %s, %zu checkpoints; %s, was %s\n",
                 options.output.c_str(), grouped(result.start.steps).c_str(),
                 grouped(result.end.steps).c_str(), result.checkpoints,
                 size_text(result.bytes).c_str(), size_text(before).c_str());
  }
  std::fprintf(
      stderr,
      "chronovisor: warning: a recording holds the guest's memory and input, and with them "
      "whatever secrets it had; packing and trimming do not remove them\n");
}

int rewrite(const PackOptions& options) {
  for (const std::string& input : options.inputs) require_another_file(input, options.output);
  std::vector<std::unique_ptr<RecordingReader>> readers;
  std::vector<const RecordingReader*> sources;
  std::uint64_t before = 0;
  for (const std::string& input : options.inputs) {
    readers.push_back(std::make_unique<RecordingReader>(input));
    sources.push_back(readers.back().get());
    before += readers.back()->file_bytes();
    for (const Damage& damage : readers.back()->damage()) {
      std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
    }
  }
  RewriteOptions rewriting;
  rewriting.keep_every = options.no_checkpoints ? 0 : options.thin;
  rewriting.writer.level = options.level;
  rewriting.writer.page_level = options.level;
  rewriting.writer.pages_per_batch = kPackedPagesPerBatch;
  const RecordingReader& last = *sources.back();
  const PlaceContext places{
      sources.front()->start(), last.usable_to(), std::nullopt, last.bookmarks()};
  if (!options.from.empty()) rewriting.from = parse_place(options.from, places, "--from");
  if (!options.to.empty()) {
    rewriting.to = parse_place(options.to, places, "--to");
    if (rewriting.to < last.usable_to()) {
      rewriting.summary_json = trimmed_summary(last, rewriting.to);
    }
  }
  const std::string temporary = options.output + ".new";
  if (!options.force) refuse_to_replace_foreign_file(options.output);
  // Under another name until it is whole, so that a failure replaces nothing.
  RewriteResult result;
  try {
    result = rewrite_recording(
        sources, std::make_unique<PosixOutputFile>(temporary, ExistingFile::replace), rewriting);
    std::filesystem::rename(temporary, options.output);
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorCode::host, error.what());
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
  report(options, before, result);
  return kDone;
}

void add_common(CLI::App& command, PackOptions& options) {
  command.add_option("--level", options.level, "zstd level (12)")->check(CLI::Range(1, 19));
  command.add_flag("-f,--force", options.force,
                   "Replace OUT whatever it is; without this only a recording is replaced");
  command.add_flag("--json", options.json, "Report as one JSON object on stdout");
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  auto options = std::make_shared<PackOptions>();
  CLI::App* command = app.add_subcommand(
      "pack", "Rewrite a recording smaller; join the parts of a flight recording");
  command->add_option("files", options->inputs, "IN OUT, or the parts in order and then OUT")
      ->required()
      ->expected(2, 64);
  command->add_option("--thin", options->thin, "Keep every Nth checkpoint (1)")
      ->check(CLI::Range(1, 1'000'000));
  command->add_flag("--no-checkpoints", options->no_checkpoints,
                    "Keep no checkpoint but one to start from");
  add_common(*command, *options);
  command->callback([options, &action] {
    action = [options] {
      PackOptions split = *options;
      split.output = split.inputs.back();
      split.inputs.pop_back();
      return rewrite(split);
    };
  });
}

void add_trim(CLI::App& app, Action& action) {
  auto options = std::make_shared<PackOptions>();
  auto input = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("trim", "Cut a part out of a recording");
  command->add_option("in", *input, "The recording")->required();
  command->add_option("out", options->output, "The recording to write")->required();
  command->add_option("--from", options->from,
                      "Start at the checkpoint at or before this position or bookmark");
  command->add_option("--to", options->to, "End at this position or bookmark");
  add_common(*command, *options);
  command->callback([options, input, &action] {
    action = [options, input] {
      PackOptions given = *options;
      given.inputs = {*input};
      return rewrite(given);
    };
  });
}

}  // namespace chronovisor::cli
