// Owns what `info --cost` says: what made a recording large, and what to change.
#pragma once

#include <string>

#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// `facts`, a JSON object, with the cost as its "cost". Throws Error{bad_input} on damage.
[[nodiscard]] std::string json_with_cost(const std::string& facts, const RecordingReader& reader);
/// The same for people, as lines of `info`.
void print_cost(const RecordingReader& reader);

}  // namespace chronovisor::cli
