#include "session/recording_facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "recorder/format/chunk_purpose.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/recorded_media.h"
#include "recorder/live/recording_child.h"
#include "session/run_summary.h"

namespace chronovisor::session {
namespace {

constexpr std::size_t kTailBytes = 2000;

/// The last console output, as text that a terminal can take.
std::string console_tail(const RecordingReader& reader) {
  std::string text;
  for (std::size_t chunk = reader.console_chunks(); chunk-- > 0 && text.size() < kTailBytes;) {
    std::string some;
    reader.show_console(chunk, [&](const ConsoleView& view) {
      for (const std::uint8_t byte : view.bytes) {
        if (byte == '\n' || byte == '\t' || (byte >= 0x20 && byte < 0x7f))
          some += static_cast<char>(byte);
      }
    });
    text.insert(0, some);
  }
  if (text.size() > kTailBytes) text.erase(0, text.size() - kTailBytes);
  return text;
}

/// The latest idle time known: a lower bound of the one at the end. It never goes back, so
/// the last chunk of console output with any says it.
std::uint64_t last_idle_ns(const RecordingReader& reader) {
  std::uint64_t idle_ns = 0;
  if (!reader.checkpoints().empty()) idle_ns = reader.checkpoints().back().idle_ns;
  bool found = false;
  for (std::size_t chunk = reader.console_chunks(); chunk-- > 0 && !found;) {
    reader.show_console(chunk, [&](const ConsoleView& view) {
      idle_ns = std::max(idle_ns, view.idle_ns);
      found = true;
    });
  }
  return idle_ns;
}

std::vector<std::string> missing_images(const RecordingReader& reader,
                                        const StartCondition& start) {
  std::vector<std::string> missing;
  const auto& checkpoints = reader.checkpoints();
  const bool checkpointed = !checkpoints.empty() && checkpoints.front().position == reader.start();
  if (checkpointed || !begins_at_power_on(reader)) return missing;
  for (const std::string& role : image_roles(start)) {
    const bool there = std::any_of(reader.images().begin(), reader.images().end(),
                                   [&](const ImageInfo& image) { return image.role == role; });
    if (!there) missing.push_back(role);
  }
  return missing;
}

/// Why this program does not replay the recording; empty: it does.
std::string replay_trouble(const RecordingReader& reader, const StartCondition& start,
                           const std::vector<std::string>& missing_images) {
  if (!missing_images.empty()) {
    return "nothing can be replayed: the file has no image for " + missing_images.front() +
           "; it was cut off before that";
  }
  try {
    require_replayable(start.machine.behaviour_version, reader.name());
  } catch (const Error& error) {
    return error.what();
  }
  return {};
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

/// Bytes that neither images nor checkpoints, with the index of what happened
/// between them, take: what the run itself costs.
std::uint64_t log_bytes(const RecordingReader& reader) {
  std::uint64_t bytes = reader.file_bytes();
  for (const ChunkPurpose purpose :
       {ChunkPurpose::image, ChunkPurpose::disk, ChunkPurpose::checkpoint, ChunkPurpose::index}) {
    bytes -= std::min(bytes, bytes_for(reader.index(), purpose));
  }
  return bytes;
}

/// Steps that lie in indexed intervals, as far as the list of them says.
std::uint64_t indexed_steps(const RecordingReader& reader) {
  std::uint64_t steps = 0;
  Position covered = reader.start();
  const auto take = [&](Position from, Position to) {
    const Position begin = std::max(from, covered);
    const Position end = std::min(to, reader.usable_to());
    if (end <= begin) return;
    steps += end.steps - begin.steps;
    covered = end;
  };
  if (reader.index().interval_runs.empty()) {
    for (const IntervalInfo& info : reader.intervals()) take(info.from, info.to);
    return steps;
  }
  std::map<Position, Position> intervals;  // some were made later
  for (const IntervalInfo& info : reader.intervals()) {
    Position& to = intervals[info.from];
    to = std::max(to, info.to);
  }
  for (const auto& [from, to] : intervals) take(from, to);
  return steps;
}

std::vector<std::pair<std::string, std::uint32_t>> state_sections(const RecordingReader& reader) {
  std::vector<std::pair<std::string, std::uint32_t>> sections;
  try {
    if (reader.checkpoints().empty()) return sections;
    for (const Section& section : reader.load_sections(0)) {
      const SectionName name = parse_section_name(section.name);
      sections.emplace_back(name.name, name.version);
    }
  } catch (const Error&) {
    // Damage is said elsewhere.
  }
  return sections;
}

std::vector<DriveFacts> drives_of(const RecordingReader& reader, const StartCondition& start) {
  std::vector<DriveFacts> drives(start.machine.drives.size());
  try {
    for (const BlockEntry& entry : reader.block_entries()) {
      if (entry.medium >= drives.size()) continue;
      DriveFacts& drive = drives[entry.medium];
      ++(entry.kind == BlockKind::unreadable ? drive.blocks_unreadable : drive.blocks_kept);
    }
  } catch (const Error&) {
    // Damage is said elsewhere.
  }
  for (const ImageInfo& image : reader.images()) {
    if (image.storage != ImageStorage::referenced) continue;
    for (std::uint32_t n = 0; n < drives.size(); ++n) {
      if (image.role == medium_role(n)) drives[n].referenced = true;
    }
  }
  return drives;
}

std::vector<CardFacts> cards_of(const RecordingReader& reader, const StartCondition& start) {
  std::vector<CardFacts> cards(start.machine.cards.size());
  if (cards.empty()) return cards;
  PacketCursor packets(reader);
  while (const auto packet = packets.next()) {
    if (packet->place.card >= cards.size()) continue;
    CardFacts& card = cards[packet->place.card];
    const bool was_sent = packet->sent != nullptr;
    ++(was_sent ? card.frames_sent : card.frames_received);
    (was_sent ? card.bytes_sent : card.bytes_received) += packet->place.length_bytes;
  }
  return cards;
}

/// What the summary says, whatever it is: the file may be anybody's.
void read_summary(const RecordingReader& reader, RecordingFacts& facts) {
  facts.summary = reader.summary_json();
  facts.ended = "not known: the recorder did not finish";
  for (const Damage& damage : reader.damage()) {
    if (damage.kind == DamageKind::being_written) facts.ended = "not yet: it is being recorded";
  }
  if (!facts.summary) return;
  const auto end = recorded_end(reader);
  facts.ended = end ? ending_words(*end) : "not said";
  const nlohmann::json summary = nlohmann::json::parse(*facts.summary, nullptr, false);
  if (!summary.is_object()) return;
  if (const auto seconds = summary.find("seconds");
      seconds != summary.end() && seconds->is_number()) {
    facts.wall_seconds = seconds->get<double>();
  }
}

/// What the recording begins with; of a machine that is not known the rest of the file can be
/// described all the same.
void take_start(const RecordingReader& reader, RecordingFacts& facts) {
  try {
    facts.start = start_of(reader);
    facts.missing_images = missing_images(reader, facts.start);
    facts.replay_trouble = replay_trouble(reader, facts.start, facts.missing_images);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    facts.is_start_known = false;
    facts.replay_trouble = error.what();
  }
}

}  // namespace

RecordingFacts outline_of(const RecordingReader& reader) {
  RecordingFacts facts;
  facts.file = reader.name();
  facts.file_bytes = reader.file_bytes();
  facts.format_version = reader.format_version();
  facts.file_id = file_id_text(reader.id());
  take_start(reader, facts);
  facts.metadata = reader.metadata_json();
  read_summary(reader, facts);
  facts.from = reader.start();
  facts.to = reader.usable_to();
  facts.checkpoints = reader.checkpoints().size();
  if (facts.checkpoints != 0) {
    facts.first_checkpoint = reader.checkpoints().front().position;
    facts.last_checkpoint = reader.checkpoints().back().position;
  }
  for (const auto& [kind, count] : reader.input_counts()) {
    facts.inputs[std::string(input_kind_name(kind))] = count;
  }
  for (const Damage& damage : reader.damage()) facts.damage.push_back(damage.message);
  if (reader.part()) facts.parts = reader.parts();
  return facts;
}

RecordingFacts facts_of(const RecordingReader& reader) {
  RecordingFacts facts = outline_of(reader);
  facts.log_bytes = log_bytes(reader);
  facts.idle_ns = last_idle_ns(reader);
  facts.virtual_ns = facts.to.steps * facts.start.machine.ns_per_step + facts.idle_ns;
  facts.counted_events = counted_events(reader);
  facts.digests = reader.digest_count();
  facts.indexed_intervals = reader.intervals().size();
  facts.indexed_steps = indexed_steps(reader);
  facts.images = reader.images();
  facts.drives = drives_of(reader, facts.start);
  facts.cards = cards_of(reader, facts.start);
  facts.sizes = reader.sizes();
  facts.bookmarks = reader.bookmarks();
  facts.state_sections = state_sections(reader);
  facts.console_tail = console_tail(reader);
  return facts;
}

}  // namespace chronovisor::session
