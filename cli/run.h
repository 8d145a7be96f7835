// Owns the command that runs a guest and keeps no recording. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_run(Command& app, Action& action);

}  // namespace chronovisor::cli
