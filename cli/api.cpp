// api and mcp: a recording for programs and for agents.
#include "cli/api.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>

#include "api/mcp.h"
#include "api/method_table.h"
#include "api/rpc.h"
#include "api/schema.h"
#include "api/stream_server.h"
#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "host/host.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostJobs = 256;

struct ApiOptions {
  std::string file;
  std::string listen = "stdio";
  std::string at = "start";
  std::string cache = "1G";
  std::string jobs = "0";
  std::vector<std::string> symbols;
  std::string allow_files;
  bool allow_changes = false;
  bool schema = false;
};

using MakeClient = std::function<std::unique_ptr<api::Client>(
    api::Context& context, session::Executor& executor, api::Send send)>;

/// The socket's path; empty for standard input and output.
std::string socket_path(const std::string& listen) {
  if (listen == "stdio") return {};
  if (listen.starts_with("unix:")) return listen.substr(5);
  throw Error(ErrorCode::usage, "--listen: \"" + listen + "\" is neither stdio nor unix:PATH");
}

int serve(const ApiOptions& options, const MakeClient& make_client) {
  if (options.file.empty()) throw Error(ErrorCode::usage, "a recording is needed: FILE");
  const std::string path = socket_path(options.listen);
  const std::uint64_t jobs = parse_number(options.jobs, "--jobs");
  if (jobs > kMostJobs) {
    throw Error(ErrorCode::usage, "--jobs: " + options.jobs + " is not from 0 to 256");
  }
  TimelineOptions timeline_options;
  timeline_options.cache_bytes = parse_size(options.cache, "--cache");
  timeline_options.jobs = static_cast<unsigned>(jobs);
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  watch_stop_signals();
  Timeline timeline(reader, timeline_options);
  timeline.seek({recorded_place(options.at, reader, "--at"), 0}, stop_signal());
  timeline.prepare_way_back(stop_signal());
  session::DebugSession debugging(timeline, options.allow_files.empty()
                                                ? AllowedFiles::all()
                                                : AllowedFiles::inside(options.allow_files));
  api::Context context(debugging, {options.allow_changes, options.symbols});
  session::Executor executor;
  const api::Greet greet = [&](api::Send send) {
    return make_client(context, executor, std::move(send));
  };
  if (path.empty()) {
    api::serve_stdio(greet, stop_signal());
    return kDone;
  }
  api::SocketServer server(path);
  std::fprintf(stderr, "chronovisor: %s at position %s of %s; listening at %s\n",
               options.file.c_str(), grouped(timeline.now().position.steps).c_str(),
               grouped(timeline.end().steps).c_str(), path.c_str());
  server.serve(greet, stop_signal());
  return kDone;
}

CLI::App* add_session(CLI::App& app, const char* name, const char* help,
                      const std::shared_ptr<ApiOptions>& options) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("--at", options->at, "Where to begin (start)")->type_name(kPlaceValues);
  command->add_option("--cache", options->cache, "Memory for checkpoints while travelling (1G)")
      ->type_name("SIZE");
  command->add_option("-j,--jobs", options->jobs, "Threads that search (one a core)")
      ->type_name("NUMBER");
  command
      ->add_option("--symbols", options->symbols,
                   "ELF file of a program of the guest's, for names; may be given again")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command->add_flag("--allow-changes", options->allow_changes,
                    "Allow what changes the recording's bookmarks, or the guest on a branch");
  command
      ->add_option("--allow-files", options->allow_files,
                   "Only files in this folder may be named, as a live branch's recording")
      ->type_name("DIR");
  return command;
}

}  // namespace

void add_api(CLI::App& app, Action& action) {
  auto options = std::make_shared<ApiOptions>();
  CLI::App* command = add_session(
      app, "api", "Serve a recording to programs: JSON-RPC 2.0, one message a line", options);
  command->add_option("file", options->file, "The recording")->type_name("FILE");
  command->add_option("--listen", options->listen, "Standard input and output, or a socket (stdio)")
      ->type_name("stdio|unix:PATH");
  command->add_flag("--schema", options->schema,
                    "Print the interface as an OpenRPC document, and stop");
  command->callback([options, &action] {
    action = [options] {
      if (options->schema) {
        std::printf("%s\n", api::schema_document().pretty().c_str());
        return static_cast<int>(kDone);
      }
      return serve(*options,
                   [](api::Context& context, session::Executor& executor,
                      api::Send send) -> std::unique_ptr<api::Client> {
                     return std::make_unique<api::RpcClient>(context, executor, std::move(send));
                   });
    };
  });
}

void add_mcp(CLI::App& app, Action& action) {
  auto options = std::make_shared<ApiOptions>();
  CLI::App* command = add_session(
      app, "mcp", "Serve a recording to an agent: the Model Context Protocol over stdio", options);
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command->callback([options, &action] {
    action = [options] {
      return serve(*options,
                   [](api::Context& context, session::Executor& executor,
                      api::Send send) -> std::unique_ptr<api::Client> {
                     return std::make_unique<api::McpClient>(context, executor, std::move(send));
                   });
    };
  });
}

}  // namespace chronovisor::cli
