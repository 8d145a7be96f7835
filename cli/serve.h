// Owns the command that serves a recording to a browser.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

void add_serve(CLI::App& app, Action& action);

}  // namespace chronovisor::cli
