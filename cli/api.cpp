// api and mcp: a recording for programs and for agents.
#include "cli/api.h"

#include <cstdio>
#include <functional>
#include <memory>

#include "api/mcp.h"
#include "api/method_table.h"
#include "api/rpc.h"
#include "api/schema.h"
#include "api/stream_server.h"
#include "api/views.h"
#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/open_session.h"
#include "cli/parser.h"
#include "host/host.h"

namespace chronovisor::cli {
namespace {

struct ApiOptions {
  SessionOptions session;
  std::string listen = "stdio";
  std::string allow_files;
  bool schema = false;
};

using MakeClient = std::function<std::unique_ptr<api::Client>(OpenSession& opened,
                                                              api::Views& views, api::Send send)>;

/// The socket's path; empty for standard input and output.
std::string socket_path(const std::string& listen) {
  if (listen == "stdio") return {};
  if (listen.starts_with("unix:") && listen.size() > 5) return listen.substr(5);
  throw Error(ErrorCode::usage, "--listen: \"" + listen + "\" is neither stdio nor unix:PATH");
}

int serve(const ApiOptions& options, const MakeClient& make_client) {
  const std::string path = socket_path(options.listen);
  OpenSession opened(options.session, options.allow_files.empty()
                                          ? AllowedFiles::all()
                                          : AllowedFiles::inside(options.allow_files));
  api::Views views(opened.context(), opened.executor());
  const api::Greet greet = [&](api::Send send) {
    return make_client(opened, views, std::move(send));
  };
  if (path.empty()) {
    api::serve_stdio(greet, stop_signal());
    return kDone;
  }
  api::SocketServer server(path);
  std::fprintf(stderr, "chronovisor: %s; listening at %s\n", opened.title().c_str(), path.c_str());
  server.serve(greet, stop_signal());
  return kDone;
}

}  // namespace

void add_api(Command& app, Action& action) {
  auto options = std::make_shared<ApiOptions>();
  Command command = add_session_command(
      app, "api", "Serve a recording to programs: JSON-RPC 2.0, one message a line",
      options->session);
  command
      .add_option("--allow-files", options->allow_files,
                  "Only files in this folder may be named, as a live branch's recording")
      .type_name("DIR");
  command.add_option("file", options->session.file, "The recording").type_name("FILE");
  command.add_option("--listen", options->listen, "Standard input and output, or a socket (stdio)")
      .type_name("stdio|unix:PATH");
  command.add_flag("--schema", options->schema,
                   "Print the interface as an OpenRPC document, and stop");
  command.callback([options, &action] {
    action = [options] {
      if (options->schema) {
        std::printf("%s\n", api::schema_document().pretty().c_str());
        return static_cast<int>(kDone);
      }
      return serve(*options,
                   [](OpenSession& opened, api::Views& views,
                      api::Send send) -> std::unique_ptr<api::Client> {
                     return std::make_unique<api::RpcClient>(opened.context(), opened.executor(),
                                                             std::move(send), views,
                                                             api::RpcClient::Kind::program);
                   });
    };
  });
}

void add_mcp(Command& app, Action& action) {
  auto options = std::make_shared<ApiOptions>();
  Command command = add_session_command(
      app, "mcp", "Serve a recording to an agent: the Model Context Protocol over stdio",
      options->session);
  command.add_option("file", options->session.file, "The recording").type_name("FILE").required();
  command.callback([options, &action] {
    action = [options] {
      return serve(*options,
                   [](OpenSession& opened, api::Views& /*views*/,
                      api::Send send) -> std::unique_ptr<api::Client> {
                     return std::make_unique<api::McpClient>(opened.context(), opened.executor(),
                                                             std::move(send));
                   });
    };
  });
}

}  // namespace chronovisor::cli
