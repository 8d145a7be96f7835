// info: what is in a recording.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/info_cost.h"
#include "cli/parser.h"
#include "recorder/format/recording_reader.h"
#include "session/recording_facts.h"

namespace chronovisor::cli {
namespace {

int info(const std::string& file, bool with_cost, bool as_json) {
  const RecordingReader reader(file);
  const session::RecordingFacts facts = session::facts_of(reader);
  if (as_json) {
    const std::string json = session::json_of(facts, reader);
    std::printf("%s\n", (with_cost ? json_with_cost(json, reader) : json).c_str());
  } else {
    std::fputs(session::text_of(facts).c_str(), stdout);
    if (with_cost) print_cost(reader);
  }
  if (!facts.missing_images.empty()) {
    throw Error(ErrorCode::bad_input, reader.name() + ": " + facts.replay_trouble);
  }
  return kDone;
}

}  // namespace

void add_info(Command& app, Action& action) {
  struct Options {
    std::string file;
    bool cost = false;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  Command command = app.add_subcommand("info", "Say what is in a recording");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_flag("--cost", options->cost, "Say what made it large, and what to change");
  command.add_flag("--json", options->json, "As one JSON object on stdout");
  command.callback([options, &action] {
    action = [options] { return info(options->file, options->cost, options->json); };
  });
}

}  // namespace chronovisor::cli
