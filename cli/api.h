// Owns the commands that serve a recording to programs and to agents; see
// cli/commands.h for what adding one means. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_api(Command& app, Action& action);
void add_mcp(Command& app, Action& action);

}  // namespace chronovisor::cli
