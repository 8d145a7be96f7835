// Owns the option by which only the last stretch of a recording is kept. Main thread.
#pragma once

#include <string>

#include "recorder/live/flight_recorder.h"

namespace chronovisor::cli {

class Command;

void add_keep_option(Command& command, std::string& keep);
/// "60s", "500ms", "10min" or "1h" of virtual time; with "-wall", of the clock's; "500M" and
/// the like, bytes. Throws Error{usage}.
[[nodiscard]] KeepPolicy parse_keep(const std::string& text);

}  // namespace chronovisor::cli
