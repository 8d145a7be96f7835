#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/number_range.h"
#include "host/host.h"
#include "host/network/sockets.h"
#include "host/network/switch_server.h"

namespace chronovisor::cli {
namespace {

struct SwitchOptions {
  std::string listen;
  std::string seed;
  double drop = 0;
  double duplicate = 0;
  double reorder = 0;
  double corrupt = 0;
  double delay_ms = 0;
  double jitter_ms = 0;
  double seconds = 0;
  bool json = false;
};

SwitchFaults faults_of(const SwitchOptions& options) {
  constexpr double kNsPerMs = 1e6;
  return {.seed = options.seed.empty() ? 0 : parse_number(options.seed, "--seed"),
          .drop = options.drop / 100,
          .duplicate = options.duplicate / 100,
          .reorder = options.reorder / 100,
          .corrupt = options.corrupt / 100,
          .delay_ns = static_cast<std::uint64_t>(options.delay_ms * kNsPerMs),
          .jitter_ns = static_cast<std::uint64_t>(options.jitter_ms * kNsPerMs)};
}

void report(const SwitchOptions& options, const SwitchServer& server) {
  const SwitchCounts& counts = server.counts();
  const nlohmann::ordered_json json = {{"peers", server.peers_seen()},
                                       {"received", counts.received},
                                       {"sent", counts.sent},
                                       {"dropped", counts.dropped},
                                       {"duplicated", counts.duplicated},
                                       {"reordered", counts.reordered},
                                       {"corrupted", counts.corrupted},
                                       {"malformed", counts.malformed},
                                       {"overflowed", counts.overflowed},
                                       {"missed", server.missed()}};
  if (options.json) {
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  std::string text;
  for (const auto& [name, value] : json.items()) {
    text += (text.empty() ? "" : ", ") + name + " " + value.dump();
  }
  std::fprintf(stderr, "chronovisor: switch: %s\n", text.c_str());
}

int run_switch(const SwitchOptions& options) {
  constexpr std::string_view kUnix = "unix:";
  if (!options.listen.starts_with(kUnix) || options.listen.size() == kUnix.size()) {
    throw Error(ErrorCode::usage, "--listen: \"" + options.listen + "\" is not unix:PATH");
  }
  const std::string path = options.listen.substr(kUnix.size());
  const SwitchFaults faults = faults_of(options);
  SwitchServer server(listen_unix(path), faults);
  watch_stop_signals();
  server.run(stop_signal(), options.seconds > 0
                                ? monotonic_ns() + static_cast<std::uint64_t>(options.seconds * 1e9)
                                : kNever);
  std::remove(path.c_str());
  report(options, server);
  return kDone;
}

}  // namespace

void add_switch(CLI::App& app, Action& action) {
  auto options = std::make_shared<SwitchOptions>();
  CLI::App* command =
      app.add_subcommand("switch", "Join machines to one Ethernet segment, with faults on demand");
  command->add_option("--listen", options->listen, "Where machines connect, as QEMU's streams do")
      ->type_name("unix:PATH")
      ->required();
  command->add_option("--seed", options->seed, "What the faults are drawn from (0)")
      ->type_name("NUMBER");
  const auto share = [&](const char* name, double& value, const char* help) {
    command->add_option(name, value, help)->type_name("PERCENT")->check(number_between(0, 100));
  };
  share("--drop", options->drop, "Frames that are lost, in percent (0)");
  share("--duplicate", options->duplicate, "Frames that come twice (0)");
  share("--reorder", options->reorder, "Frames that wait until another has passed (0)");
  share("--corrupt", options->corrupt, "Frames of which a bit changes (0)");
  const auto time = [&](const char* name, double& value, const char* unit, const char* help) {
    command->add_option(name, value, help)->type_name(unit)->check(number_between(0, 1e9));
  };
  time("--delay", options->delay_ms, "MILLISECONDS", "How long each frame is under way (0)");
  time("--jitter", options->jitter_ms, "MILLISECONDS", "And up to so much longer (0)");
  time("--for", options->seconds, "SECONDS", "End after so long; else a signal ends it");
  command->add_flag("--json", options->json, "Report as one JSON object on stdout");
  command->callback([options, &action] { action = [options] { return run_switch(*options); }; });
}

}  // namespace chronovisor::cli
