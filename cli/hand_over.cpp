// hand-over: the backup of a run goes on in its place.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/parser.h"
#include "replica/transport/control.h"

namespace chronovisor::cli {
namespace {

int hand_over(const std::string& socket) {
  const std::string answer = replica::ask_control(socket, "hand-over");
  const auto json = nlohmann::json::parse(answer, nullptr, false);
  if (!json.is_object()) {
    throw Error(ErrorCode::bad_input, socket + ": an answer that is none: " + answer);
  }
  if (json.value("handed_over", false)) {
    std::fprintf(stderr, "chronovisor: the backup is live\n");
    return kDone;
  }
  throw Error(ErrorCode::host, socket + ": not handed over: " + json.value("error", answer));
}

}  // namespace

void add_hand_over(Command& app, Action& action) {
  auto socket = std::make_shared<std::string>();
  Command command = app.add_subcommand(
      "hand-over", "Let the backup of a run go on in its place, without any loss");
  command.add_option("socket", *socket, "The primary's control socket")
      .type_name("PATH")
      .required();
  command.callback([socket, &action] { action = [socket] { return hand_over(*socket); }; });
}

}  // namespace chronovisor::cli
