// Owns the opening of a recording by a command that needs its positions: one
// whose events have counted places gets its positions first. Main thread.
#pragma once

#include <memory>
#include <string>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// Opens the recording at `path`. Where its events have counted places, the soft
/// processor counts its way through the run, with a line of progress, and an
/// ordinary recording takes the place of the file: nothing is lost, and the next
/// time it opens at once. Throws Error{divergence} when a place is never met,
/// Error{host} when interrupted or when the file cannot be replaced; then the file
/// is as it was. Throws Error{bad_input}.
[[nodiscard]] std::unique_ptr<RecordingReader> open_with_positions(
    const std::string& path, const ReaderOptions& options = {});

/// Says on stderr what of the recording cannot be used.
void warn_of_damage(const RecordingReader& reader);

}  // namespace chronovisor::cli
