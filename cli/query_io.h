// Owns the question what a guest did to its devices. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_io_question(CLI::App& query, Action& action);

}  // namespace chronovisor::cli
