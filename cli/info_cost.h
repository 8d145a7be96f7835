// Owns what `info --cost` says: what made a recording large, and what to change.
#pragma once

#include <nlohmann/json.hpp>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// As a member of what `info --json` gives. Throws Error{bad_input} on damage.
[[nodiscard]] nlohmann::ordered_json cost_json(const RecordingReader& reader);
/// The same for people, as lines of `info`.
void print_cost(const RecordingReader& reader);

}  // namespace chronovisor::cli
