// Owns the question what came into a guest from outside. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_input_question(CLI::App& query, Action& action);

}  // namespace chronovisor::cli
