// Owns how every command that writes spells it: -o, -f, and what they promise. What
// becomes of the file is NewFile's. Main thread.
#pragma once

#include <string>

#include "cli/parser.h"
#include "recorder/edit/new_file.h"

namespace chronovisor::cli {

/// -o,--output FILE
Option add_output_option(Command& command, std::string& output, const std::string& help);
/// -f,--force
Option add_force_flag(Command& command, bool& force, Replaceable without_force);

/// Throws Error{usage} for standard output: recordings are read while they are written.
void require_file_name(const std::string& output);
/// Throws Error{usage} when `output` is standard output and that is a terminal, which
/// bytes such as these would only confuse.
void require_no_terminal(const std::string& output);

}  // namespace chronovisor::cli
