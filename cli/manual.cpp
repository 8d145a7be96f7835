// manual: what the parser knows of every command and option, for the scripts that make
// manual pages and completions of it, and for the tests that try every value.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/parser.h"

namespace chronovisor::cli {
namespace {

bool is_shown(const CLI::Option& option) { return !option.get_group().empty(); }

nlohmann::ordered_json json_of(const CLI::Option& option) {
  nlohmann::ordered_json json;
  json["names"] = nlohmann::ordered_json::array();
  for (const std::string& name : option.get_snames()) json["names"].push_back("-" + name);
  for (const std::string& name : option.get_lnames()) json["names"].push_back("--" + name);
  if (option.get_positional()) json["name"] = option.get_name(true, false);
  json["flag"] = option.get_items_expected_max() == 0;
  // A flag with a value of its own: --gdb, or --gdb=lldb.
  json["takes_value_after_equals"] = !option.get_fnames().empty();
  json["values"] = option.get_type_name();
  json["required"] = option.get_required();
  json["repeatable"] = option.get_expected_max() > 1;
  json["help"] = option.get_description();
  return json;
}

nlohmann::ordered_json json_of(const CLI::App& command) {
  nlohmann::ordered_json json;
  json["name"] = command.get_name();
  json["help"] = command.get_description();
  json["footer"] = command.get_footer();
  json["positionals"] = nlohmann::ordered_json::array();
  json["options"] = nlohmann::ordered_json::array();
  for (const CLI::Option* option :
       command.get_options([](const CLI::Option* candidate) { return is_shown(*candidate); })) {
    json[option->get_positional() ? "positionals" : "options"].push_back(json_of(*option));
  }
  json["commands"] = nlohmann::ordered_json::array();
  for (const CLI::App* below : command.get_subcommands(
           [](const CLI::App* candidate) { return !candidate->get_group().empty(); })) {
    json["commands"].push_back(json_of(*below));
  }
  return json;
}

}  // namespace

void add_manual(Command& app, Action& action) {
  Command command = app.add_subcommand("manual", "Every command and option, as JSON").group("");
  command.callback([&app, &action] {
    action = [&app] {
      nlohmann::ordered_json json = json_of(app.parser());
      json["name"] = "chronovisor";
      std::printf("%s\n", json.dump(2).c_str());
      return kDone;
    };
  });
}

}  // namespace chronovisor::cli
