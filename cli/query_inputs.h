// Owns the question what came into a guest from outside. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_input_question(Command& query, Action& action);

}  // namespace chronovisor::cli
