// Owns what consoles are called by everything that is asked or exported. A plain function;
// any thread.
#pragma once

#include "recorder/format/recording_reader.h"

namespace chronovisor::api {

/// "serial0"
[[nodiscard]] const char* console_name(ConsoleChannel channel);

}  // namespace chronovisor::api
