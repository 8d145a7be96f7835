// Owns what is said of a recording as a whole: gathered once, for the command line and
// for debugging sessions, and its two forms, text for people and JSON for programs.
// Runs nothing. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::session {

/// What is kept of a drive's medium.
struct DriveFacts {
  std::uint64_t blocks_kept = 0;
  std::uint64_t blocks_unreadable = 0;
  bool referenced = false;  ///< the image itself is needed, too
};

/// What came and went by a network card.
struct CardFacts {
  std::uint64_t frames_received = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t frames_sent = 0;
  std::uint64_t bytes_sent = 0;
};

struct RecordingFacts {
  std::string file;
  std::uint64_t file_bytes = 0;
  /// What the run itself costs: all but images, checkpoints and the index of what
  /// happened between them.
  std::uint64_t log_bytes = 0;
  std::uint32_t format_version = 0;
  std::string file_id;
  StartCondition start;
  bool is_start_known = true;          ///< the metadata say what machine it is of
  std::string metadata;                ///< as it stands in the file: JSON
  std::optional<std::string> summary;  ///< also; nothing: the recorder did not finish
  std::string ended;                   ///< by the summary: "poweroff", "debug-exit with code 3"
  std::optional<double> wall_seconds;  ///< of the host's clock
  Position from;
  Position to;
  std::uint64_t idle_ns = 0;         ///< the latest known: a lower bound of that at the end
  std::uint64_t virtual_ns = 0;      ///< likewise
  std::uint64_t counted_events = 0;  ///< whose positions are not known yet
  std::uint64_t checkpoints = 0;
  Position first_checkpoint;  ///< if there are any
  Position last_checkpoint;
  std::uint64_t digests = 0;
  std::uint64_t indexed_intervals = 0;
  std::uint64_t indexed_steps = 0;              ///< as far as the list of intervals says
  std::map<std::string, std::uint64_t> inputs;  ///< how many of each kind
  std::vector<ImageInfo> images;
  std::vector<DriveFacts> drives;  ///< of start.machine.drives, in their order
  std::vector<CardFacts> cards;    ///< of start.machine.cards, in their order
  std::vector<TypeSize> sizes;
  std::vector<Bookmark> bookmarks;
  std::vector<std::string> damage;
  std::vector<RecordingReader::Part> parts;  ///< none: the recording is one file
  /// The state sections of the first checkpoint that can be read, with their versions.
  std::vector<std::pair<std::string, std::uint32_t>> state_sections;
  std::string replay_trouble;  ///< why this program does not replay it; empty: it does
  /// Roles of images that are not in the file, though the run begins with them: nothing of it
  /// can be replayed, by any program.
  std::vector<std::string> missing_images;
  std::string console_tail;  ///< the last of the console, as a terminal can take it
};

/// What a session says in short: file, start, how it ended, positions, checkpoints,
/// inputs and damage, without looking at anything else. Throws as facts_of does.
[[nodiscard]] RecordingFacts outline_of(const RecordingReader& reader);
/// All of it. Damage to optional parts is among the facts. Throws Error{bad_input} for what cannot
/// be read otherwise.
[[nodiscard]] RecordingFacts facts_of(const RecordingReader& reader);
/// Some twenty lines or more, for people.
[[nodiscard]] std::string text_of(const RecordingFacts& facts);
/// One JSON object, indented, with the positions of all checkpoints of `reader`, whose facts
/// they are.
[[nodiscard]] std::string json_of(const RecordingFacts& facts, const RecordingReader& reader);

}  // namespace chronovisor::session
