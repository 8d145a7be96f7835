// What is said of a recording, as text.
#include <fmt/format.h>

#include "base/text.h"
#include "host/host.h"
#include "recorder/format/records.h"
#include "session/recording_facts.h"

namespace chronovisor::session {
namespace {

std::string at(Position position) { return grouped(position.steps); }

std::string line(const char* what, const std::string& text) {
  return fmt::format("  {:<11} {}\n", what, text);
}

std::string drive_line(const RecordingFacts& facts, std::size_t n) {
  const DriveConfig& drive = facts.start.machine.drives[n];
  const StartImage& image = facts.start.drive_images[n];
  const DriveFacts& kept = facts.drives[n];
  const char* rest = kept.referenced               ? "; the image is referred to"
                     : kept.blocks_unreadable != 0 ? "; some could not be read"
                                                   : "";
  return line(drive.kind == DriveConfig::Kind::cdrom ? "cdrom" : "disk",
              fmt::format("{}: {}, {}, {}, {}{}; {} of it embedded in {} blocks{}", n,
                          drive_interface_name(drive.interface),
                          image.file.empty() ? "empty" : terminal_text(image.file),
                          terminal_text(image.format), size_text(drive.size_bytes),
                          drive.read_only ? ", read-only" : "",
                          size_text(kept.blocks_kept * kMediumBlockBytes),
                          grouped(kept.blocks_kept), rest));
}

std::string card_line(const RecordingFacts& facts, std::size_t n) {
  const CardConfig& card = facts.start.machine.cards[n];
  const CardFacts& carried = facts.cards[n];
  return line("card",
              fmt::format("net{}: {}, {}; {} frames received ({}), {} sent ({})", n,
                          card_model_name(card.model), mac_text(card.address),
                          grouped(carried.frames_received), size_text(carried.bytes_received),
                          grouped(carried.frames_sent), size_text(carried.bytes_sent)));
}

/// Who made it, on what machine, of which versions.
std::string origin_text(const RecordingFacts& facts) {
  const StartCondition& start = facts.start;
  if (!facts.is_start_known) return line("machine", terminal_text(facts.replay_trouble));
  std::string out = line(
      "made", fmt::format("{} on {}", terminal_text(start.created_utc), terminal_text(start.host)));
  if (start.parent) {
    out += line("parent",
                fmt::format("{} (file id {}) at position {}{}", terminal_text(start.parent->name),
                            terminal_text(start.parent->file_id), at(start.parent->position),
                            start.parent->changed_by_hand ? ", changed by hand" : ""));
  }
  out +=
      line("machine",
           fmt::format("{}, engine {}, idle {}, {} memory, {} ns a step, clock from {}",
                       terminal_text(start.machine.model), terminal_text(start.engine),
                       terminal_text(start.idle), size_text(start.machine.memory_bytes),
                       start.machine.ns_per_step, utc_text(start.machine.rtc_start_unix_seconds)));
  std::string newer;
  for (const auto& [name, version] : facts.state_sections) {
    if (version != 1) newer += fmt::format(", {} {}", terminal_text(name), version);
  }
  out += line(
      "versions",
      fmt::format("state {}{}; behaviour {}, this program's is {}", start.state_version,
                  newer.empty() ? ", every section 1" : ", every section 1 but" + newer.substr(1),
                  start.machine.behaviour_version, kMachineBehaviourVersion));
  if (!facts.replay_trouble.empty()) out += line("replay", facts.replay_trouble);
  return out;
}

std::string guest_text(const StartCondition& start) {
  std::string out = line("guest", terminal_text(start.kernel_name));
  if (!start.initrd_name.empty()) out += line("initrd", terminal_text(start.initrd_name));
  for (const StartModule& module : start.modules) {
    out += line("module", terminal_text(module.name) + " " + terminal_text(module.arguments));
  }
  if (!start.command_line.empty()) out += line("append", terminal_text(start.command_line));
  return out;
}

std::string parts_text(const RecordingFacts& facts) {
  std::string out;
  for (const RecordingReader::Part& part : facts.parts) {
    out += line("part", fmt::format("{}: {}, {}, from position {} to {}", part.number,
                                    terminal_text(part.file), size_text(part.bytes), at(part.from),
                                    at(part.to)));
  }
  return out;
}

std::string contents_text(const RecordingFacts& facts) {
  std::string out =
      facts.checkpoints == 0
          ? line("checkpoints", fmt::format("none, {} digests", facts.digests))
          : line("checkpoints",
                 fmt::format("{}, from position {} to {}; {} digests", facts.checkpoints,
                             at(facts.first_checkpoint), at(facts.last_checkpoint), facts.digests));
  out += line("index", fmt::format("{} intervals, {} of {} steps", facts.indexed_intervals,
                                   grouped(facts.indexed_steps),
                                   grouped(facts.to.steps - facts.from.steps)));
  std::string inputs;
  for (const auto& [kind, count] : facts.inputs) {
    inputs += (inputs.empty() ? "" : ", ") + grouped(count) + " " + kind;
  }
  out += line("inputs", inputs.empty() ? "none" : inputs);
  for (const ImageInfo& image : facts.images) {
    out +=
        line("image", fmt::format("{}: {}, {}{}", terminal_text(image.role),
                                  terminal_text(image.path), size_text(image.size_bytes),
                                  image.storage == ImageStorage::embedded ? "" : ", not embedded"));
  }
  for (std::size_t n = 0; n < facts.drives.size(); ++n) out += drive_line(facts, n);
  for (std::size_t n = 0; n < facts.cards.size(); ++n) out += card_line(facts, n);
  for (const Bookmark& bookmark : facts.bookmarks) {
    out += line("bookmark", terminal_text(bookmark.name) + " at " + at(bookmark.position));
  }
  out += line("sizes", fmt::format("{:<16} {:>12}", "log", size_text(facts.log_bytes)));
  for (const TypeSize& size : facts.sizes) {
    out +=
        line("", fmt::format("{:<16} {:>12} in {} chunks, {} unpacked", size.type,
                             size_text(size.stored_bytes), size.chunks, size_text(size.raw_bytes)));
  }
  return out;
}

}  // namespace

std::string text_of(const RecordingFacts& facts) {
  std::string out = fmt::format("{}: {}, format {}\n", facts.file, size_text(facts.file_bytes),
                                facts.format_version);
  out += origin_text(facts) + guest_text(facts.start);
  out += line("positions", at(facts.from) + " to " + at(facts.to));
  std::string time = fmt::format("{:.3f} s virtual", static_cast<double>(facts.virtual_ns) / 1e9);
  if (facts.wall_seconds)
    time += fmt::format(", {:.1f} s on the host's clock", *facts.wall_seconds);
  out += line("time", time) + line("ended", terminal_text(facts.ended)) + parts_text(facts) +
         contents_text(facts);
  if (facts.counted_events != 0) {
    out += line("places", grouped(facts.counted_events) +
                              " events are counted; replay finds their positions");
  }
  for (const std::string& damage : facts.damage) out += line("damage", damage);
  if (!facts.console_tail.empty()) out += "  console, at the end:\n" + facts.console_tail + "\n";
  return out;
}

}  // namespace chronovisor::session
