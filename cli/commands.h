// Owns the list of commands: each adds itself to the parser and says what to
// run. A command throws Error; main turns it into a message and a status.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace chronovisor::cli {

/// Runs the command that was chosen; returns the exit status.
using Action = std::function<int()>;

void add_record(CLI::App& app, Action& action);
void add_live(CLI::App& app, Action& action);
void add_replay(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_diff(CLI::App& app, Action& action);
void add_debug(CLI::App& app, Action& action);
void add_info(CLI::App& app, Action& action);
void add_index(CLI::App& app, Action& action);
void add_query(CLI::App& app, Action& action);
void add_symbols(CLI::App& app, Action& action);
void add_linux(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);
void add_trim(CLI::App& app, Action& action);
void add_bookmark(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_switch(CLI::App& app, Action& action);
void add_backup(CLI::App& app, Action& action);
void add_arbiter(CLI::App& app, Action& action);
void add_status(CLI::App& app, Action& action);
void add_hand_over(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_manual(CLI::App& app, Action& action);

}  // namespace chronovisor::cli
