// Owns the question for packets among those of `query`. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_packet_question(Command& query, Action& action);

}  // namespace chronovisor::cli
