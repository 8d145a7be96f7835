// Owns the command that writes what a recording shows into one page; see
// cli/commands.h. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_report(CLI::App& app, Action& action);

}  // namespace chronovisor::cli
