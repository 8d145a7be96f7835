// Owns the command that runs a guest and keeps no recording. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_run(CLI::App& app, Action& action);

}  // namespace chronovisor::cli
