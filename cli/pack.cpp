// pack and trim: recordings made out of recordings.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/recorded_range.h"
#include "host/host.h"
#include "recorder/edit/new_file.h"
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
  json.erase("idle_ns");
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
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
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

/// Whether all of the index that lies in the file can be read.
bool has_sound_index(const RecordingReader& reader) {
  const RecordingIndex& index = reader.index();
  const auto read = [](const auto& table) {
    for (const auto& record : table) (void)record;
  };
  try {
    read(index.chunks);
    read(index.inputs);
    read(index.checkpoints);
    read(index.intervals);
    read(index.digests);
    read(index.consoles);
    read(index.bookmarks);
    read(index.frames);
    read(index.counted);
    read(index.block_directories);
    read(index.filters);
    read(index.group_filters);
    read(index.large_filters);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return false;
  }
  return true;
}

/// One attempt at what `pack` and `trim` do. What of an index is damaged is made again from
/// what it is of, with `rescan`.
RewriteResult attempt(const PackOptions& options, NewFile& output,
                      std::vector<std::unique_ptr<RecordingReader>>& readers, bool rescan) {
  std::vector<const RecordingReader*> sources;
  for (const std::string& input : options.inputs) {
    ReaderOptions how;
    how.rescan = rescan;
    readers.push_back(std::make_unique<RecordingReader>(input, how));
    sources.push_back(readers.back().get());
  }
  RewriteOptions rewriting;
  rewriting.keep_every = options.no_checkpoints ? 0 : options.thin;
  rewriting.writer.level = options.level;
  rewriting.writer.page_level = options.level;
  rewriting.writer.pages_per_batch = kPackedPagesPerBatch;
  const RecordingReader& last = *sources.back();
  const auto place = [&](const std::string& text, const char* option) {
    if (sources.size() == 1) return recorded_place(text, last, option);
    return parse_place(
        text, {sources.front()->start(), last.usable_to(), std::nullopt, last.bookmarks()}, option);
  };
  if (!options.from.empty()) rewriting.from = place(options.from, "--from");
  if (!options.to.empty()) {
    rewriting.to = place(options.to, "--to");
    if (rewriting.to < last.usable_to()) {
      rewriting.summary_json = trimmed_summary(last, rewriting.to);
    }
  }
  return rewrite_recording(sources, output.open(), rewriting);
}

/// A file that a `pack` that was killed has left is of no use to anybody.
void say_what_was_removed(const NewFile& output) {
  for (const std::string& leftover : output.removed()) {
    std::fprintf(stderr, "chronovisor: %s: removed, a command that was killed had left it\n",
                 leftover.c_str());
  }
}

int rewrite(const PackOptions& options) {
  require_file_name(options.output);
  const OutputPlan plan{options.output, options.inputs, options.force, Replaceable::recordings};
  std::optional<NewFile> output(std::in_place, plan, stop_signal());
  watch_stop_signals();
  require_range_syntax(options.from, options.to);
  std::vector<std::unique_ptr<RecordingReader>> readers;
  RewriteResult result;
  try {
    result = attempt(options, *output, readers, false);
  } catch (const Error& error) {
    const bool is_sound = std::all_of(readers.begin(), readers.end(),
                                      [](const auto& reader) { return has_sound_index(*reader); });
    if (error.code() != ErrorCode::bad_input || is_sound) throw;
    readers.clear();
    say_what_was_removed(*output);
    output.emplace(plan, stop_signal());
    result = attempt(options, *output, readers, true);
  }
  say_what_was_removed(*output);
  std::uint64_t before = 0;
  for (const auto& reader : readers) {
    before += reader->file_bytes();
    warn_of_damage(*reader);
  }
  output->commit();
  report(options, before, result);
  return kDone;
}

void add_common(Command& command, PackOptions& options) {
  add_output_option(command, options.output, "The recording to write, instead of OUT");
  add_force_flag(command, options.force, Replaceable::recordings);
  command.add_option("--level", options.level, "zstd level, 1 to 19 (12)")
      .type_name("LEVEL")
      .in_range(1, 19);
  command.add_flag("--json", options.json, "Report as one JSON object on stdout");
}

/// The last of `files` is the output where -o did not name one.
PackOptions with_output(PackOptions options) {
  if (options.output.empty() && options.inputs.size() > 1) {
    options.output = options.inputs.back();
    options.inputs.pop_back();
  }
  if (options.output.empty())
    throw Error(ErrorCode::usage, "what is to be written? Give OUT or -o");
  return options;
}

}  // namespace

void add_pack(Command& app, Action& action) {
  auto options = std::make_shared<PackOptions>();
  Command command = app.add_subcommand(
      "pack",
      "Rewrite a recording smaller, and as one file if it is in parts; join the parts of a "
      "flight recording");
  command.add_option("files", options->inputs, "IN OUT, or the parts in order and then OUT")
      .required()
      .type_name("FILE")
      .expected(1, 64);
  command.add_option("--thin", options->thin, "Keep every Nth checkpoint (1)")
      .type_name("NUMBER")
      .in_range(1, 1'000'000);
  command.add_flag("--no-checkpoints", options->no_checkpoints,
                   "Keep no checkpoint but one to start from");
  add_common(command, *options);
  command.callback(
      [options, &action] { action = [options] { return rewrite(with_output(*options)); }; });
}

void add_trim(Command& app, Action& action) {
  auto options = std::make_shared<PackOptions>();
  Command command = app.add_subcommand("trim", "Cut a part out of a recording");
  command.add_option("files", options->inputs, "IN OUT")
      .required()
      .type_name("FILE")
      .expected(1, 2);
  command.add_option("--from", options->from, "Start at the checkpoint at or before this position")
      .type_name(kPlaceValues);
  command.add_option("--to", options->to, "End at this position").type_name(kPlaceValues);
  add_common(command, *options);
  command.callback([options, &action] {
    action = [options] {
      const PackOptions given = with_output(*options);
      if (given.inputs.size() != 1) throw Error(ErrorCode::usage, "trim takes one recording");
      return rewrite(given);
    };
  });
}

}  // namespace chronovisor::cli
