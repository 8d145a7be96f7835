// Owns telling perf where emitted code lies: lines of /tmp/perf-PID.map, as perf reads
// them. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace chronovisor::translate {

/// Appends one line; without effect when the file cannot be written.
void note_in_perf_map(const std::uint8_t* code, std::size_t size, std::string_view name);

}  // namespace chronovisor::translate
