#include "cli/list_options.h"

#include "cli/option_values.h"

namespace chronovisor::cli {

Command add_list_question(Command& query, const char* name, const char* help,
                          ListOptions& options) {
  Command command = query.add_subcommand(name, help);
  command.add_option("file", options.file, "The recording").type_name("FILE").required();
  return command;
}

void add_list_options(Command& command, ListOptions& options) {
  command.add_option("--from", options.from, "From here on (start)").type_name(kPlaceValues);
  command.add_option("--to", options.to, "Before here (end)").type_name(kPlaceValues);
  command.add_option("--limit", options.limit, "At most this many, the earliest (100000)")
      .type_name("NUMBER");
  command.add_flag("--json", options.json, "The answer as one JSON object on stdout");
}

}  // namespace chronovisor::cli
