// Owns writing a guest's memory by hand. The session's thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

/// Writes up to where there is no memory, or memory that takes no writes, as ROM. What
/// is written makes a branch of the timeline.
/// @param address linear, as the processor translates it now, or `physical`
/// @return how many bytes were written
std::size_t write_memory(Timeline& timeline, std::uint64_t address, ByteView bytes, bool physical);

}  // namespace chronovisor::session
