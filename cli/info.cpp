#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/info_cost.h"
#include "host/host.h"
#include "recorder/format/recorded_media.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/recording_child.h"
#include "vmm/boot/image.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kTailBytes = 2000;

/// The last console output, as text that a terminal can take.
std::string console_tail(const RecordingReader& reader) {
  std::string text;
  reader.for_each_console([&](const ConsoleView& view) {
    for (const std::uint8_t byte : view.bytes) {
      if (byte == '\n' || byte == '\t' || (byte >= 0x20 && byte < 0x7f))
        text += static_cast<char>(byte);
    }
    if (text.size() > 4 * kTailBytes) text.erase(0, text.size() - kTailBytes);
  });
  if (text.size() > kTailBytes) text.erase(0, text.size() - kTailBytes);
  return text;
}

/// Text out of a file, as a terminal can take it.
std::string plain(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    result += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return result;
}

std::uint64_t virtual_ns(Position position, std::uint64_t idle_ns, const StartCondition& start) {
  return position.steps * start.machine.ns_per_step + idle_ns;
}

/// The latest idle time known: a lower bound of the one at the end.
std::uint64_t last_idle_ns(const RecordingReader& reader) {
  std::uint64_t idle_ns = 0;
  if (!reader.checkpoints().empty()) idle_ns = reader.checkpoints().back().idle_ns;
  reader.for_each_console(
      [&](const ConsoleView& view) { idle_ns = std::max(idle_ns, view.idle_ns); });
  return idle_ns;
}

nlohmann::ordered_json guest_of(const StartCondition& start) {
  nlohmann::ordered_json json;
  json["kernel"] = start.kernel_name;
  json["initrd"] = start.initrd_name;
  json["command_line"] = start.command_line;
  json["modules"] = nlohmann::ordered_json::array();
  for (const StartModule& module : start.modules) {
    json["modules"].push_back({{"name", module.name}, {"arguments", module.arguments}});
  }
  return json;
}

/// The state sections of the first checkpoint that can be read, with their versions.
nlohmann::ordered_json state_sections_of(const RecordingReader& reader) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  try {
    if (reader.checkpoints().empty()) return json;
    for (const Section& section : reader.load_sections(0)) {
      const SectionName name = parse_section_name(section.name);
      json[name.name] = name.version;
    }
  } catch (const Error&) {
    // Damage is said elsewhere.
  }
  return json;
}

/// Why this program does not replay the recording's behaviour; empty: it does.
std::string replay_trouble(const RecordingReader& reader, const StartCondition& start) {
  try {
    require_replayable(start.machine.behaviour_version, reader.name());
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

nlohmann::ordered_json machine_of(const RecordingReader& reader, const StartCondition& start) {
  return {{"model", start.machine.model},
          {"memory_bytes", start.machine.memory_bytes},
          {"ns_per_step", start.machine.ns_per_step},
          {"state_version", start.state_version},
          {"state_sections", state_sections_of(reader)},
          {"behaviour_version", start.machine.behaviour_version},
          {"replayable", replay_trouble(reader, start).empty()},
          {"rtc_start", utc_text(start.machine.rtc_start_unix_seconds)},
          {"entropy_seed", start.machine.entropy_seed}};
}

/// The drives, with what is kept of their media.
nlohmann::ordered_json disks_of(const RecordingReader& reader, const StartCondition& start) {
  struct Blocks {
    std::uint64_t kept = 0;
    std::uint64_t unreadable = 0;
  };
  std::map<std::uint32_t, Blocks> blocks;
  try {
    for (const BlockEntry& entry : reader.block_entries()) {
      Blocks& medium = blocks[entry.medium];
      ++(entry.kind == BlockKind::unreadable ? medium.unreadable : medium.kept);
    }
  } catch (const Error&) {
    // Damage is said elsewhere.
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (std::uint32_t n = 0; n < start.machine.drives.size(); ++n) {
    const DriveConfig& drive = start.machine.drives[n];
    bool referenced = false;
    for (const ImageInfo& image : reader.images()) {
      referenced =
          referenced || (image.role == medium_role(n) && image.storage == ImageStorage::referenced);
    }
    json.push_back({{"number", n},
                    {"interface", drive_interface_name(drive.interface)},
                    {"kind", drive.kind == DriveConfig::Kind::cdrom ? "cdrom" : "disk"},
                    {"read_only", drive.read_only},
                    {"bytes", drive.size_bytes},
                    {"file", start.drive_images[n].file},
                    {"format", start.drive_images[n].format},
                    {"referenced", referenced},
                    {"blocks_embedded", blocks[n].kept},
                    {"bytes_embedded", blocks[n].kept * kBlockBytes},
                    {"blocks_unreadable", blocks[n].unreadable}});
  }
  return json;
}

nlohmann::ordered_json parent_of(const StartCondition& start) {
  if (!start.parent) return nullptr;
  return {{"file_id", start.parent->file_id},
          {"name", start.parent->name},
          {"position", start.parent->position.steps},
          {"deliveries", start.parent->deliveries},
          {"digest", start.parent->digest},
          {"changed_by_hand", start.parent->changed_by_hand}};
}

nlohmann::ordered_json inputs_of(const RecordingReader& reader) {
  std::map<std::string, std::uint64_t> kinds;
  for (std::size_t range = 0; range < reader.input_ranges().size(); ++range) {
    for (const InputEvent& event : reader.read_inputs(range).events) {
      ++kinds[input_kind_name(event.kind)];
    }
  }
  return kinds;
}

/// Events whose positions are not known yet.
std::uint64_t counted_events(const RecordingReader& reader) {
  std::uint64_t events = 0;
  for (std::size_t n = 0; n < reader.counted_chunks(); ++n) {
    for (const CountedEvent& event : reader.read_counted(n).events)
      events += event.ends_run ? 0 : 1;
  }
  return events;
}

/// What a summary says, whatever it is: the file may be anybody's.
nlohmann::ordered_json parsed(const std::string& text) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, nullptr, false);
  return json.is_discarded() ? nlohmann::ordered_json(nullptr) : json;
}

nlohmann::ordered_json sections_of(const RecordingReader& reader) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const TypeSize& size : reader.sizes()) {
    json.push_back({{"type", size.type},
                    {"chunks", size.chunks},
                    {"stored_bytes", size.stored_bytes},
                    {"raw_bytes", size.raw_bytes}});
  }
  return json;
}

/// Bytes that neither images nor checkpoints, with the index of what happened
/// between them, take: what the run itself costs.
std::uint64_t log_bytes(const RecordingReader& reader) {
  std::uint64_t bytes = reader.file_bytes();
  for (const TypeSize& size : reader.sizes()) {
    for (const char* type :
         {"image data", "image", "page batch", "page directory", "page map", "sections",
          "checkpoint", "interval index", "block data", "block directory"}) {
      if (size.type == type) bytes -= std::min(bytes, size.stored_bytes);
    }
  }
  return bytes;
}

/// Steps that lie in indexed intervals, as far as the list of them says.
std::uint64_t indexed_steps(const RecordingReader& reader) {
  std::map<Position, Position> intervals;
  for (const IntervalInfo& info : reader.intervals()) {
    Position& to = intervals[info.from];
    to = std::max(to, info.to);
  }
  std::uint64_t steps = 0;
  Position covered = reader.start();
  for (const auto& [from, to] : intervals) {
    const Position begin = std::max(from, covered);
    const Position end = std::min(to, reader.usable_to());
    if (end <= begin) continue;
    steps += end.steps - begin.steps;
    covered = end;
  }
  return steps;
}

nlohmann::ordered_json describe(const RecordingReader& reader, const StartCondition& start) {
  nlohmann::ordered_json json;
  json["file"] = reader.name();
  json["bytes"] = reader.file_bytes();
  json["log_bytes"] = log_bytes(reader);
  json["format_version"] = reader.format_version();
  json["file_id"] = file_id_text(reader.id());
  json["engine"] = start.engine;
  json["idle"] = start.idle;
  json["host"] = start.host;
  json["created_utc"] = start.created_utc;
  json["parent"] = parent_of(start);
  json["machine"] = machine_of(reader, start);
  json["guest"] = guest_of(start);
  json["metadata"] = parsed(reader.metadata_json());
  json["start"] = reader.start().steps;
  json["end"] = reader.usable_to().steps;
  const std::uint64_t idle_ns = last_idle_ns(reader);
  json["idle_ns"] = idle_ns;
  json["virtual_seconds"] =
      static_cast<double>(virtual_ns(reader.usable_to(), idle_ns, start)) / 1e9;
  const auto summary = reader.summary_json();
  json["finished"] = summary.has_value();
  if (summary) {
    json["summary"] = parsed(*summary);
    const nlohmann::ordered_json& facts = json["summary"];
    if (facts.is_object() && facts.contains("seconds")) json["wall_seconds"] = facts["seconds"];
  }
  json["counted_events"] = counted_events(reader);
  json["checkpoints"] = reader.checkpoints().size();
  json["checkpoint_positions"] = nlohmann::ordered_json::array();
  for (const CheckpointInfo& info : reader.checkpoints()) {
    json["checkpoint_positions"].push_back(info.position.steps);
  }
  json["index"] = {{"intervals", reader.intervals().size()}, {"steps", indexed_steps(reader)}};
  json["digests"] = reader.digests().size();
  json["inputs"] = inputs_of(reader);
  json["images"] = nlohmann::ordered_json::array();
  for (const ImageInfo& image : reader.images()) {
    json["images"].push_back({{"role", image.role},
                              {"path", image.path},
                              {"bytes", image.size_bytes},
                              {"hash", image.hash.hex()},
                              {"embedded", image.storage == ImageStorage::embedded}});
  }
  json["disks"] = disks_of(reader, start);
  json["sections"] = sections_of(reader);
  json["bookmarks"] = nlohmann::ordered_json::array();
  for (const Bookmark& bookmark : reader.bookmarks()) {
    json["bookmarks"].push_back({{"name", bookmark.name}, {"position", bookmark.position.steps}});
  }
  json["damage"] = nlohmann::ordered_json::array();
  for (const Damage& damage : reader.damage()) json["damage"].push_back(damage.message);
  json["console_tail"] = console_tail(reader);
  return json;
}

std::string ending_text(const nlohmann::ordered_json& json) {
  if (!json["finished"].get<bool>()) return "not known: the recorder did not finish";
  const nlohmann::ordered_json& summary = json["summary"];
  if (!summary.is_object() || !summary.contains("exit") || !summary["exit"].is_object()) {
    return "not said";
  }
  std::string text = summary["exit"].value("reason", "not said");
  if (const unsigned code = summary["exit"].value("code", 0U); code != 0) {
    text += " with code " + std::to_string(code);
  }
  if (const unsigned port = summary["exit"].value("port", 0U); port != 0) {
    text += " by port " + hex_text(port);
  }
  return text;
}

void print_contents(const RecordingReader& reader, const nlohmann::ordered_json& json) {
  if (reader.checkpoints().empty()) {
    std::printf("  checkpoints none, %zu digests\n", json["digests"].get<std::size_t>());
  } else {
    std::printf("  checkpoints %zu, from position %s to %s; %zu digests\n",
                reader.checkpoints().size(),
                grouped(reader.checkpoints().front().position.steps).c_str(),
                grouped(reader.checkpoints().back().position.steps).c_str(),
                json["digests"].get<std::size_t>());
  }
  std::printf("  index       %zu intervals, %s of %s steps\n",
              json["index"]["intervals"].get<std::size_t>(),
              grouped(json["index"]["steps"].get<std::uint64_t>()).c_str(),
              grouped(reader.usable_to().steps - reader.start().steps).c_str());
  std::string inputs;
  for (const auto& [kind, count] : json["inputs"].items()) {
    inputs += (inputs.empty() ? "" : ", ") + grouped(count.get<std::uint64_t>()) + " " + kind;
  }
  std::printf("  inputs      %s\n", inputs.empty() ? "none" : inputs.c_str());
  for (const ImageInfo& image : reader.images()) {
    std::printf("  image       %s: %s, %s%s\n", plain(image.role).c_str(),
                plain(image.path).c_str(), size_text(image.size_bytes).c_str(),
                image.storage == ImageStorage::embedded ? "" : ", not embedded");
  }
  for (const auto& disk : json["disks"]) {
    const auto count = [&](const char* key) { return disk[key].get<std::uint64_t>(); };
    const std::string file = disk["file"].get<std::string>();
    std::printf(
        "  %-11s %llu: %s, %s, %s, %s%s; %s of it embedded in %s blocks%s\n",
        disk["kind"].get<std::string>().c_str(), static_cast<unsigned long long>(count("number")),
        disk["interface"].get<std::string>().c_str(), file.empty() ? "empty" : plain(file).c_str(),
        plain(disk["format"].get<std::string>()).c_str(), size_text(count("bytes")).c_str(),
        disk["read_only"].get<bool>() ? ", read-only" : "",
        size_text(count("bytes_embedded")).c_str(), grouped(count("blocks_embedded")).c_str(),
        disk["referenced"].get<bool>()    ? "; the image is referred to"
        : count("blocks_unreadable") != 0 ? "; some could not be read"
                                          : "");
  }
  for (const Bookmark& bookmark : reader.bookmarks()) {
    std::printf("  bookmark    %s at %s\n", plain(bookmark.name).c_str(),
                grouped(bookmark.position.steps).c_str());
  }
  std::printf("  sizes       %-16s %12s\n", "log", size_text(log_bytes(reader)).c_str());
  for (const TypeSize& size : reader.sizes()) {
    std::printf("              %-16s %12s in %llu chunks, %s unpacked\n", size.type.c_str(),
                size_text(size.stored_bytes).c_str(), static_cast<unsigned long long>(size.chunks),
                size_text(size.raw_bytes).c_str());
  }
}

void print_text(const RecordingReader& reader, const StartCondition& start,
                const nlohmann::ordered_json& json) {
  std::printf("%s: %s, format %u\n", reader.name().c_str(), size_text(reader.file_bytes()).c_str(),
              reader.format_version());
  std::printf("  made        %s on %s\n", plain(start.created_utc).c_str(),
              plain(start.host).c_str());
  if (start.parent) {
    std::printf("  parent      %s (file id %s) at position %s%s\n",
                plain(start.parent->name).c_str(), plain(start.parent->file_id).c_str(),
                grouped(start.parent->position.steps).c_str(),
                start.parent->changed_by_hand ? ", changed by hand" : "");
  }
  std::printf("  machine     %s, engine %s, idle %s, %s memory, %llu ns a step, clock from %s\n",
              plain(start.machine.model).c_str(), plain(start.engine).c_str(),
              plain(start.idle).c_str(), size_text(start.machine.memory_bytes).c_str(),
              static_cast<unsigned long long>(start.machine.ns_per_step),
              utc_text(start.machine.rtc_start_unix_seconds).c_str());
  std::string newer;
  for (const auto& [name, version] : json["machine"]["state_sections"].items()) {
    if (version != 1) newer += ", " + plain(name) + " " + std::to_string(version.get<unsigned>());
  }
  std::printf(
      "  versions    state %u%s; behaviour %u, this program's is %u\n", start.state_version,
      newer.empty() ? ", every section 1" : (", every section 1 but" + newer.substr(1)).c_str(),
      start.machine.behaviour_version, kMachineBehaviourVersion);
  if (const std::string trouble = replay_trouble(reader, start); !trouble.empty()) {
    std::printf("  replay      %s\n", trouble.c_str());
  }
  std::printf("  guest       %s\n", plain(start.kernel_name).c_str());
  if (!start.initrd_name.empty())
    std::printf("  initrd      %s\n", plain(start.initrd_name).c_str());
  for (const StartModule& module : start.modules) {
    std::printf("  module      %s %s\n", plain(module.name).c_str(),
                plain(module.arguments).c_str());
  }
  if (!start.command_line.empty())
    std::printf("  append      %s\n", plain(start.command_line).c_str());
  std::printf("  positions   %s to %s\n", grouped(reader.start().steps).c_str(),
              grouped(reader.usable_to().steps).c_str());
  std::printf("  time        %.3f s virtual", json["virtual_seconds"].get<double>());
  if (json.contains("wall_seconds") && json["wall_seconds"].is_number()) {
    std::printf(", %.1f s on the host's clock", json["wall_seconds"].get<double>());
  }
  std::printf("\n  ended       %s\n", plain(ending_text(json)).c_str());
  print_contents(reader, json);
  if (reader.counted_chunks() != 0) {
    std::printf("  places      %s events are counted; replay finds their positions\n",
                grouped(json["counted_events"].get<std::uint64_t>()).c_str());
  }
  for (const Damage& damage : reader.damage())
    std::printf("  damage      %s\n", damage.message.c_str());
  const std::string tail = json["console_tail"].get<std::string>();
  if (!tail.empty()) std::printf("  console, at the end:\n%s\n", tail.c_str());
}

int info(const std::string& file, bool with_cost, bool as_json) {
  const RecordingReader reader(file);
  const StartCondition start = start_of(reader);
  try {
    nlohmann::ordered_json json = describe(reader, start);
    if (with_cost && as_json) json["cost"] = parsed(cost_json(reader));
    if (as_json) {
      std::printf(
          "%s\n",
          json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    } else {
      print_text(reader, start, json);
      if (with_cost) print_cost(reader);
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::bad_input, file + ": " + e.what());
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  struct Options {
    std::string file;
    bool cost = false;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "Say what is in a recording");
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command->add_flag("--cost", options->cost, "Say what made it large, and what to change");
  command->add_flag("--json", options->json, "As one JSON object on stdout");
  command->callback([options, &action] {
    action = [options] { return info(options->file, options->cost, options->json); };
  });
}

}  // namespace chronovisor::cli
