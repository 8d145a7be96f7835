// info: what is in a recording.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_status.h"
#include "recorder/format/recording_reader.h"
#include "session/recording_facts.h"

namespace chronovisor::cli {
namespace {

int info(const std::string& file, bool as_json) {
  const RecordingReader reader(file);
  const session::RecordingFacts facts = session::facts_of(reader);
  std::fputs((as_json ? session::json_of(facts) + "\n" : session::text_of(facts)).c_str(), stdout);
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  struct Options {
    std::string file;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("info", "Say what is in a recording");
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command->add_flag("--json", options->json, "As one JSON object on stdout");
  command->callback(
      [options, &action] { action = [options] { return info(options->file, options->json); }; });
}

}  // namespace chronovisor::cli
