// Owns what a recording that goes on from another one takes from it: starting
// condition, name of the parent, images. Knows no machine state. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {

/// Where and as what a run leaves its parent.
struct Departure {
  Position position;
  std::uint32_t deliveries = 0;
  Hash128 digest;  ///< of the state the run goes on with
  bool changed_by_hand = false;
};

/// 32 lower-case hexadecimal digits.
[[nodiscard]] std::string file_id_text(const FileId& id);

/// The starting condition of a run that leaves `parent`. Throws Error{bad_input}.
[[nodiscard]] StartCondition child_start(const RecordingReader& parent, const Departure& departure);

/// Puts the images of `parent` into a recording that begins: the run needs them
/// no more, but whoever debugs it wants the kernel. Throws Error{host},
/// Error{bad_input}.
void copy_images(const RecordingReader& parent, RecordingWriter& writer);

/// Throws Error{usage} when the recording says that its guest ended at
/// `position`, so that nothing can go on from there.
void require_guest_runs(const RecordingReader& parent, Position position);

}  // namespace chronovisor
