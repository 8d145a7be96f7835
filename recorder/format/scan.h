// Owns what happens when a recording has no sound footer: reading every chunk
// from the front, cutting a torn tail, stepping over damage in the middle, and
// saying what each damage costs. Knows chunk frames and the index, not what
// replays them. Pure functions of a const file; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_index.h"

namespace chronovisor {

enum class DamageKind {
  being_written,  ///< no damage: the recorder is at work, and the file ends where it was
  unfinished,     ///< whole chunks to the end, but the recorder did not finish
  torn_tail,      ///< the end of the file is not a whole chunk, and was cut
  damaged_chunk,  ///< a chunk in the middle is damaged or missing
  damaged_index,  ///< footer or trailer only: rebuilt, nothing is lost
  missing_part    ///< a file of the recording is not there, or another one is in its place
};

struct Damage {
  DamageKind kind = DamageKind::damaged_chunk;
  std::uint64_t offset = 0;               ///< where in the file, in bytes
  std::optional<std::uint64_t> sequence;  ///< which chunk, when known
  /// Inputs are complete up to here as far as this damage goes.
  Position usable_to;
  /// The file, the place, the reason and what it costs, for people.
  std::string message;
};

struct ScanResult {
  RecordingIndex index;
  std::vector<Damage> damage;
};

/// Reads the whole file behind its header and checks every byte. Throws
/// Error{bad_input} when a sound chunk is of an unknown critical type, or the
/// file cannot be read.
[[nodiscard]] ScanResult scan_recording(const InputFile& file, const FileHeader& header);
/// The same from the last mark in the file, where there is one near its end: what lies before
/// it is looked at when it is read.
[[nodiscard]] std::optional<ScanResult> scan_tail(const InputFile& file, const FileHeader& header,
                                                  const std::shared_ptr<IndexBlocks>& blocks);

/// "recording.cvr: chunk 812 at byte 0x3f40"
[[nodiscard]] std::string chunk_place(const std::string& file_name, std::uint64_t sequence,
                                      std::uint64_t offset);
/// What the loss of a chunk costs; `type` 0 when the type is not known.
[[nodiscard]] std::string loss_of(std::uint32_t type, Position usable_to);
/// The refusal of a chunk of unknown critical type.
[[nodiscard]] Error unknown_critical(const std::string& place, std::uint32_t type);

}  // namespace chronovisor
