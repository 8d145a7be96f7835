// Owns the command that serves a recording to a browser.
#pragma once

#include "cli/commands.h"

namespace chronovisor::cli {

class Command;

void add_serve(Command& app, Action& action);

}  // namespace chronovisor::cli
