#include "cli/output_options.h"

#include <unistd.h>

#include "base/error.h"
#include "cli/parser.h"

namespace chronovisor::cli {

Option add_output_option(Command& command, std::string& output, const std::string& help) {
  return command.add_option("-o,--output", output, help).type_name("FILE");
}

Option add_force_flag(Command& command, bool& force, Replaceable without_force) {
  return command.add_flag("-f,--force", force,
                          without_force == Replaceable::recordings
                              ? "Replace what is there; without this only a recording is replaced"
                          : without_force == Replaceable::all_but_recordings
                              ? "Replace a recording that is there by the console"
                              : "Replace what is there");
}

void require_file_name(const std::string& output) {
  if (output != "-") return;
  throw Error(ErrorCode::usage, "a recording is written to a file; ./- is one that is called so");
}

void require_no_terminal(const std::string& output) {
  if (output != "-" || isatty(STDOUT_FILENO) == 0) return;
  throw Error(ErrorCode::usage, "this is not for a terminal; name a file with -o, or use a pipe");
}

}  // namespace chronovisor::cli
