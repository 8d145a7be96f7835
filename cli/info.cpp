#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/host.h"
#include "recorder/recording_reader.h"
#include "recorder/start_condition.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kTailBytes = 2000;

/// The last console output, as text that a terminal can take.
std::string console_tail(const RecordingReader& reader) {
  std::string text;
  reader.for_each_console([&](const ConsoleView& view) {
    for (const std::uint8_t byte : view.bytes) {
      if (byte == '\n' || byte == '\t' || (byte >= 0x20 && byte < 0x7f)) text += static_cast<char>(byte);
    }
    if (text.size() > 4 * kTailBytes) text.erase(0, text.size() - kTailBytes);
  });
  if (text.size() > kTailBytes) text.erase(0, text.size() - kTailBytes);
  return text;
}

nlohmann::ordered_json describe(const RecordingReader& reader) {
  nlohmann::ordered_json json;
  json["file"] = reader.name();
  json["bytes"] = reader.file_bytes();
  json["format_version"] = reader.format_version();
  json["metadata"] = nlohmann::ordered_json::parse(reader.metadata_json());
  json["start"] = reader.start().steps;
  json["end"] = reader.usable_to().steps;
  const auto summary = reader.summary_json();
  json["finished"] = summary.has_value();
  if (summary) json["summary"] = nlohmann::ordered_json::parse(*summary);
  json["checkpoints"] = reader.checkpoints().size();
  if (!reader.checkpoints().empty()) json["idle_ns"] = reader.checkpoints().back().idle_ns;
  std::map<std::string, std::uint64_t> kinds;
  for (std::size_t range = 0; range < reader.input_ranges().size(); ++range) {
    for (const InputEvent& event : reader.read_inputs(range).events) {
      ++kinds[input_kind_name(event.kind)];
    }
  }
  json["inputs"] = kinds;
  json["images"] = nlohmann::ordered_json::array();
  for (const ImageInfo& image : reader.images()) {
    json["images"].push_back({{"role", image.role},
                              {"path", image.path},
                              {"bytes", image.size_bytes},
                              {"hash", image.hash.hex()},
                              {"embedded", image.storage == ImageStorage::embedded}});
  }
  json["sections"] = nlohmann::ordered_json::array();
  for (const TypeSize& size : reader.sizes()) {
    json["sections"].push_back({{"type", size.type},
                                {"chunks", size.chunks},
                                {"stored_bytes", size.stored_bytes},
                                {"raw_bytes", size.raw_bytes}});
  }
  json["bookmarks"] = nlohmann::ordered_json::array();
  for (const Bookmark& bookmark : reader.bookmarks()) {
    json["bookmarks"].push_back({{"name", bookmark.name}, {"position", bookmark.position.steps}});
  }
  json["damage"] = nlohmann::ordered_json::array();
  for (const Damage& damage : reader.damage()) json["damage"].push_back(damage.message);
  json["console_tail"] = console_tail(reader);
  return json;
}

void print_text(const RecordingReader& reader, const nlohmann::ordered_json& json) {
  const StartCondition start = start_of(reader);
  std::printf("%s: %s, format %u%s\n", reader.name().c_str(), size_text(reader.file_bytes()).c_str(),
              reader.format_version(),
              json["finished"].get<bool>() ? "" : ", the recorder did not finish");
  std::printf("  made       %s on %s\n", start.created_utc.c_str(), start.host.c_str());
  std::printf("  engine     %s, idle %s, %s memory\n", start.engine.c_str(), start.idle.c_str(),
              size_text(start.machine.memory_bytes).c_str());
  std::printf("  guest      %s\n", start.kernel_name.c_str());
  if (!start.command_line.empty()) std::printf("  append     %s\n", start.command_line.c_str());
  std::printf("  positions  %s to %s\n", grouped(reader.start().steps).c_str(),
              grouped(reader.usable_to().steps).c_str());
  if (json.contains("summary")) {
    const auto& summary = json["summary"];
    std::printf("  ended      %s (code %u), %.1f s of work, %.1f s of virtual time\n",
                summary["exit"]["reason"].get<std::string>().c_str(),
                summary["exit"]["code"].get<unsigned>(), summary["seconds"].get<double>(),
                summary["virtual_seconds"].get<double>());
  }
  std::printf("  checkpoints %zu\n", reader.checkpoints().size());
  for (const auto& [kind, count] : json["inputs"].items()) {
    std::printf("  input      %s: %llu\n", kind.c_str(),
                static_cast<unsigned long long>(count.get<std::uint64_t>()));
  }
  for (const TypeSize& size : reader.sizes()) {
    std::printf("  section    %-16s %12s in %llu chunks\n", size.type.c_str(),
                size_text(size.stored_bytes).c_str(), static_cast<unsigned long long>(size.chunks));
  }
  for (const Bookmark& bookmark : reader.bookmarks()) {
    std::printf("  bookmark   %s at %s\n", bookmark.name.c_str(),
                grouped(bookmark.position.steps).c_str());
  }
  for (const Damage& damage : reader.damage()) std::printf("  damage     %s\n", damage.message.c_str());
  const std::string tail = json["console_tail"].get<std::string>();
  if (!tail.empty()) std::printf("  console, at the end:\n%s\n", tail.c_str());
}

int info(const std::string& file, bool as_json) {
  const RecordingReader reader(file);
  nlohmann::ordered_json json;
  try {
    json = describe(reader);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::bad_input, file + ": " + e.what());
  }
  if (as_json) {
    std::printf("%s\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    print_text(reader, json);
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  struct Options {
    std::string file;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "Say what is in a recording");
  command->add_option("file", options->file, "The recording")->required();
  command->add_flag("--json", options->json, "As one JSON object on stdout");
  command->callback(
      [options, &action] { action = [options] { return info(options->file, options->json); }; });
}

}  // namespace chronovisor::cli
