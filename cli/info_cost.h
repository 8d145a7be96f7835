// Owns what `info --cost` says: what made a recording large, and what to change.
#pragma once

#include <string>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// One JSON object. Throws Error{bad_input} on damage.
[[nodiscard]] std::string cost_json(const RecordingReader& reader);
/// The same for people, as lines of `info`.
void print_cost(const RecordingReader& reader);

}  // namespace chronovisor::cli
