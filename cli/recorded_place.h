// Owns how a place in a recording is written on the command line. Any thread.
#pragma once

#include <string>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// "start", "end", the name of a bookmark, or a position. Throws Error{usage},
/// beginning with `option`, for anything else.
[[nodiscard]] Position recorded_place(const std::string& text, const RecordingReader& reader,
                                      const std::string& option);

/// Throws Error{usage} when `name` cannot name a bookmark: it is empty, too long,
/// or would be taken for a position.
void require_bookmark_name(const std::string& name);

}  // namespace chronovisor::cli
