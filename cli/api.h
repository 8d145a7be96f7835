// Owns the commands that serve a recording to programs and to agents; see
// cli/commands.h for what adding one means. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_api(CLI::App& app, Action& action);
void add_mcp(CLI::App& app, Action& action);

}  // namespace chronovisor::cli
