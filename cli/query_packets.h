// Owns the question for packets among those of `query`. Main thread.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_packet_question(CLI::App& query, Action& action);

}  // namespace chronovisor::cli
