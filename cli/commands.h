// Owns the list of commands: each adds itself to the parser and says what to
// run. A command throws Error; main turns it into a message and a status.
#pragma once

#include <functional>
#include <string>

namespace chronovisor::cli {

class Command;

/// Runs the command that was chosen; returns the exit status.
using Action = std::function<int()>;

void add_record(Command& app, Action& action);
void add_live(Command& app, Action& action);
void add_replay(Command& app, Action& action);
void add_verify(Command& app, Action& action);
void add_diff(Command& app, Action& action);
void add_debug(Command& app, Action& action);
void add_info(Command& app, Action& action);
void add_index(Command& app, Action& action);
void add_query(Command& app, Action& action);
void add_symbols(Command& app, Action& action);
void add_linux(Command& app, Action& action);
void add_pack(Command& app, Action& action);
void add_trim(Command& app, Action& action);
void add_bookmark(Command& app, Action& action);
void add_export(Command& app, Action& action);
void add_switch(Command& app, Action& action);
void add_backup(Command& app, Action& action);
void add_arbiter(Command& app, Action& action);
void add_status(Command& app, Action& action);
void add_hand_over(Command& app, Action& action);
void add_doctor(Command& app, Action& action);
void add_compare(Command& app, Action& action);
void add_manual(Command& app, Action& action);

}  // namespace chronovisor::cli
