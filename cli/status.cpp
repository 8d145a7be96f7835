// status: how a replicated run stands.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/parser.h"
#include "replica/transport/control.h"

namespace chronovisor::cli {
namespace {

struct StatusOptions {
  std::string socket;
  bool json = false;
};

/// A line a fact; what is inside of another one after its name.
void print_facts(const nlohmann::ordered_json& json, const std::string& before) {
  for (const auto& [name, value] : json.items()) {
    if (value.is_structured() && !value.empty()) {
      print_facts(value, before + name + " ");
      continue;
    }
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::printf("%-28s %s\n", terminal_text(before + name).c_str(), terminal_text(text).c_str());
  }
}

int status(const StatusOptions& options) {
  const auto json = nlohmann::ordered_json::parse(replica::status_of(options.socket));
  if (options.json) {
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    print_facts(json, "");
  }
  return kDone;
}

}  // namespace

void add_status(Command& app, Action& action) {
  auto options = std::make_shared<StatusOptions>();
  Command command =
      app.add_subcommand("status", "Show how a primary or a backup stands (--control)");
  command.add_option("socket", options->socket, "Its control socket").type_name("PATH").required();
  command.add_flag("--json", options->json, "As one JSON object");
  command.callback([options, &action] { action = [options] { return status(*options); }; });
}

}  // namespace chronovisor::cli
