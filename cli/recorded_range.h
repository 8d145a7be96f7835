// Owns what --at, --from and --to of a command may be: places that the recording
// covers. How a place is written is recorded_place's. Any thread.
#pragma once

#include <string>
#include <vector>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// Throws Error{usage} for what can be neither a position nor the name of a bookmark,
/// and for numbers that are the wrong way round. Needs no recording; empty: not given.
void require_range_syntax(const std::string& from, const std::string& to);

/// The place that `text` names, see recorded_place(). Throws Error{usage}, saying where the
/// recording starts or ends, when it is outside.
[[nodiscard]] Position covered_place(const std::string& text, const RecordingReader& reader,
                                     const std::string& option,
                                     const std::vector<std::string>& symbol_files = {});

}  // namespace chronovisor::cli
