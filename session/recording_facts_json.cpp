// What is said of a recording, as JSON.
#include <nlohmann/json.hpp>

#include "host/host.h"
#include "session/recording_facts.h"

namespace chronovisor::session {
namespace {

using Json = nlohmann::ordered_json;

Json guest_of(const StartCondition& start) {
  Json json;
  json["kernel"] = start.kernel_name;
  json["initrd"] = start.initrd_name;
  json["command_line"] = start.command_line;
  json["modules"] = Json::array();
  for (const StartModule& module : start.modules) {
    json["modules"].push_back({{"name", module.name}, {"arguments", module.arguments}});
  }
  return json;
}

Json parent_of(const StartCondition& start) {
  if (!start.parent) return nullptr;
  return {{"file_id", start.parent->file_id},
          {"name", start.parent->name},
          {"position", start.parent->position.steps},
          {"deliveries", start.parent->deliveries},
          {"digest", start.parent->digest},
          {"changed_by_hand", start.parent->changed_by_hand}};
}

Json machine_of(const RecordingFacts& facts) {
  const MachineConfig& machine = facts.start.machine;
  Json sections = Json::object();
  for (const auto& [name, version] : facts.state_sections) sections[name] = version;
  return {{"model", machine.model},
          {"memory_bytes", machine.memory_bytes},
          {"ns_per_step", machine.ns_per_step},
          {"state_version", facts.start.state_version},
          {"state_sections", std::move(sections)},
          {"behaviour_version", machine.behaviour_version},
          {"replayable", facts.replay_trouble.empty()},
          {"rtc_start", utc_text(machine.rtc_start_unix_seconds)},
          {"entropy_seed", machine.entropy_seed}};
}

Json disks_of(const RecordingFacts& facts) {
  Json disks = Json::array();
  for (std::size_t n = 0; n < facts.drives.size(); ++n) {
    const DriveConfig& drive = facts.start.machine.drives[n];
    const DriveFacts& kept = facts.drives[n];
    disks.push_back({{"number", n},
                     {"interface", drive_interface_name(drive.interface)},
                     {"kind", drive.kind == DriveConfig::Kind::cdrom ? "cdrom" : "disk"},
                     {"read_only", drive.read_only},
                     {"bytes", drive.size_bytes},
                     {"file", facts.start.drive_images[n].file},
                     {"format", facts.start.drive_images[n].format},
                     {"referenced", kept.referenced},
                     {"blocks_embedded", kept.blocks_kept},
                     {"bytes_embedded", kept.blocks_kept * kMediumBlockBytes},
                     {"blocks_unreadable", kept.blocks_unreadable}});
  }
  return disks;
}

Json cards_of(const RecordingFacts& facts) {
  Json cards = Json::array();
  for (std::size_t n = 0; n < facts.cards.size(); ++n) {
    const CardConfig& card = facts.start.machine.cards[n];
    const CardFacts& carried = facts.cards[n];
    cards.push_back({{"number", n},
                     {"model", card_model_name(card.model)},
                     {"address", mac_text(card.address)},
                     {"frames_received", carried.frames_received},
                     {"bytes_received", carried.bytes_received},
                     {"frames_sent", carried.frames_sent},
                     {"bytes_sent", carried.bytes_sent}});
  }
  return cards;
}

Json images_of(const RecordingFacts& facts) {
  Json images = Json::array();
  for (const ImageInfo& image : facts.images) {
    images.push_back({{"role", image.role},
                      {"path", image.path},
                      {"bytes", image.size_bytes},
                      {"hash", image.hash.hex()},
                      {"embedded", image.storage == ImageStorage::embedded}});
  }
  return images;
}

Json sections_of(const RecordingFacts& facts) {
  Json sections = Json::array();
  for (const TypeSize& size : facts.sizes) {
    sections.push_back({{"type", size.type},
                        {"chunks", size.chunks},
                        {"stored_bytes", size.stored_bytes},
                        {"raw_bytes", size.raw_bytes}});
  }
  return sections;
}

/// Text that should be JSON, whatever it is: the file may be anybody's.
Json parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(nullptr) : json;
}

}  // namespace

std::string json_of(const RecordingFacts& facts, const RecordingReader& reader) {
  Json json;
  json["file"] = facts.file;
  json["bytes"] = facts.file_bytes;
  json["log_bytes"] = facts.log_bytes;
  json["format_version"] = facts.format_version;
  json["file_id"] = facts.file_id;
  json["engine"] = facts.start.engine;
  json["idle"] = facts.start.idle;
  json["host"] = facts.start.host;
  json["created_utc"] = facts.start.created_utc;
  json["parent"] = parent_of(facts.start);
  json["machine"] = machine_of(facts);
  json["guest"] = guest_of(facts.start);
  json["metadata"] = parsed(facts.metadata);
  json["start"] = facts.from.steps;
  json["end"] = facts.to.steps;
  json["idle_ns"] = facts.idle_ns;
  json["virtual_seconds"] = static_cast<double>(facts.virtual_ns) / 1e9;
  json["finished"] = facts.summary.has_value();
  if (facts.summary) json["summary"] = parsed(*facts.summary);
  if (facts.wall_seconds) json["wall_seconds"] = *facts.wall_seconds;
  json["counted_events"] = facts.counted_events;
  json["checkpoints"] = facts.checkpoints;
  Json& positions = json["checkpoint_positions"] = Json::array();
  for (const CheckpointInfo& info : reader.checkpoints()) positions.push_back(info.position.steps);
  json["index"] = {{"intervals", facts.indexed_intervals}, {"steps", facts.indexed_steps}};
  json["digests"] = facts.digests;
  json["inputs"] = facts.inputs;
  json["images"] = images_of(facts);
  json["disks"] = disks_of(facts);
  json["cards"] = cards_of(facts);
  json["sections"] = sections_of(facts);
  Json& bookmarks = json["bookmarks"] = Json::array();
  for (const Bookmark& bookmark : facts.bookmarks) {
    bookmarks.push_back({{"name", bookmark.name}, {"position", bookmark.position.steps}});
  }
  json["damage"] = facts.damage;
  Json& parts = json["parts"] = Json::array();
  for (const RecordingReader::Part& part : facts.parts) {
    parts.push_back({{"number", part.number},
                     {"file", part.file},
                     {"bytes", part.bytes},
                     {"start", part.from.steps},
                     {"end", part.to.steps}});
  }
  json["console_tail"] = facts.console_tail;
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace chronovisor::session
