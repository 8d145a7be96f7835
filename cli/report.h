// Owns the command that writes what a recording shows into one page; see
// cli/commands.h. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_report(Command& app, Action& action);

}  // namespace chronovisor::cli
