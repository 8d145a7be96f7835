// Owns the question what a guest did to its devices. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_io_question(Command& query, Action& action);

}  // namespace chronovisor::cli
