// Owns the joining of what the shards of a command have given. Main thread.
#pragma once

#include "cli/commands.h"
#include "session/query_document.h"

namespace chronovisor::cli {

class Command;

void add_merge(Command& app, Action& action);
/// The same for the answers of queries alone.
void add_query_merge(Command& query, Action& action);

/// On stdout, and on stderr what is left out of it. Throws Error{host}.
void print_answer(const session::QueryDocument& document, bool json);

}  // namespace chronovisor::cli
