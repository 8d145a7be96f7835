// serve: a recording for a browser, and a debugger beside it.
#include "cli/serve.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "api/mcp.h"
#include "api/rpc.h"
#include "api/views.h"
#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/open_session.h"
#include "cli/parser.h"
#include "debugger/timeline_target.h"
#include "gdbstub/server.h"
#include "host/host.h"
#include "serve/door.h"
#include "serve/server.h"

extern char** environ;

namespace chronovisor::cli {
namespace {

struct ServeOptions {
  SessionOptions session;
  std::string listen = "127.0.0.1:0";
  std::string gdb;
  std::string pages;
  bool open = false;
};

void say(std::string_view line) {
  std::fprintf(stderr, "chronovisor: %.*s\n", static_cast<int>(line.size()), line.data());
}

/// A file that leads to `url`, for its owner alone: what programs are started with, others
/// on the host can read.
class Signpost {
 public:
  explicit Signpost(const std::string& url) {
    const char* folder = std::getenv("XDG_RUNTIME_DIR");
    path_ = std::string(folder != nullptr && *folder != '\0' ? folder : "/tmp") +
            "/chronovisor-XXXXXX.html";
    const int fd = mkostemps(path_.data(), 5, O_CLOEXEC);
    if (fd < 0) throw Error(ErrorCode::host, path_ + ": " + std::strerror(errno));
    const std::string page =
        "<!doctype html><meta charset=\"utf-8\"><title>Chronovisor</title>"
        "<meta http-equiv=\"refresh\" content=\"0;url=" +
        url + "\">\n";
    const bool written = ::write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size());
    ::close(fd);
    if (!written) throw Error(ErrorCode::host, path_ + ": cannot be written");
  }
  ~Signpost() { ::unlink(path_.c_str()); }
  Signpost(const Signpost&) = delete;
  Signpost& operator=(const Signpost&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void open_browser(const std::string& path) {
  std::string program = "xdg-open";
  std::string file = path;
  char* arguments[] = {program.data(), file.data(), nullptr};
  pid_t child = 0;
  const int trouble = posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments, environ);
  if (trouble != 0) {
    say(std::string("--open: xdg-open cannot be started: ") + std::strerror(trouble));
    return;
  }
  std::thread([child] { waitpid(child, nullptr, 0); }).detach();
}

/// A debugger's way to the same session, on a thread of its own.
class DebuggerDoor {
 public:
  DebuggerDoor(OpenSession& opened, const std::string& listen)
      : target_(opened.debugging(), opened.executor(), debugger::RegisterLayout::x86_64,
                debugger::Sharing::shared),
        server_(target_, options(listen)),
        thread_([this] { serve(); }) {
    say("in gdb: target remote " + text() +
        "; with its commands (chronovisor.py) also: set chronovisor follow on");
  }
  ~DebuggerDoor() {
    server_.stop();
    thread_.join();
  }
  DebuggerDoor(const DebuggerDoor&) = delete;
  DebuggerDoor& operator=(const DebuggerDoor&) = delete;

 private:
  static gdb::ServerOptions options(const std::string& listen) {
    gdb::ServerOptions made;
    made.listen = gdb::ListenAddress::parse(listen);
    if (made.listen.kind == gdb::ListenAddress::Kind::stdio) {
      throw Error(ErrorCode::usage, "--gdb: stdio is not for a debugger here; use unix:PATH");
    }
    made.log = say;
    return made;
  }
  [[nodiscard]] std::string text() const {
    const gdb::ListenAddress at = server_.listening();
    return at.kind == gdb::ListenAddress::Kind::unix_socket
               ? at.path
               : at.address + ":" + std::to_string(at.port);
  }
  void serve() {
    try {
      server_.run();
    } catch (const Error& error) {
      say(error.what());
    }
  }

  debugger::TimelineTarget target_;
  gdb::Server server_;
  std::thread thread_;
};

int serve(const ServeOptions& options) {
  OpenSession opened(options.session,
                     AllowedFiles::none("a page may not name the host's files; chronovisor debug "
                                        "and chronovisor api may"));
  api::Views views(opened.context(), opened.executor());
  serve::ServerOptions server_options;
  server_options.listen = options.listen;
  server_options.token = serve::new_token();
  server_options.pages_folder = options.pages;
  server_options.log = say;
  server_options.greet_page = [&](api::Send send) -> std::unique_ptr<api::Client> {
    return std::make_unique<api::RpcClient>(opened.context(), opened.executor(), std::move(send),
                                            views, api::RpcClient::Kind::page);
  };
  server_options.greet_agent = [&](api::Send send) -> std::unique_ptr<api::Client> {
    return std::make_unique<api::McpClient>(opened.context(), opened.executor(), std::move(send));
  };
  serve::Server server(std::move(server_options));
  std::optional<DebuggerDoor> door;
  if (!options.gdb.empty()) door.emplace(opened, options.gdb);
  const char* const guarded =
      options.gdb.empty() ? "; nothing can be changed" : "; pages can change nothing, a gdb can";
  say(opened.title() + (options.session.allow_changes ? "" : guarded));
  std::printf("%s\n", server.url().c_str());
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorCode::host, "standard output: the page's address could not be written");
  }
  std::optional<Signpost> signpost;
  if (options.open) open_browser(signpost.emplace(server.url()).path());
  server.run(stop_signal());
  return kDone;
}

}  // namespace

void add_serve(Command& app, Action& action) {
  auto options = std::make_shared<ServeOptions>();
  Command command = add_session_command(
      app, "serve", "Serve a recording to a browser, and to a gdb beside it", options->session);
  command.add_option("file", options->session.file, "The recording").type_name("FILE").required();
  command
      .add_option("--listen", options->listen,
                  "This host's own address and a port; 0: one that is free (127.0.0.1:0)")
      .type_name("ADDRESS:PORT");
  command
      .add_option("--pages", options->pages,
                  "For who writes the page: the files of this folder before those built in")
      .type_name("DIR")
      .existing_directory();
  command.add_flag("--open", options->open, "Open the page in the browser");
  command
      .add_option(
          "--gdb", options->gdb,
          "Let a gdb connect here, to the same session; it may keep bookmarks, and change a branch")
      .type_name("unix:PATH|tcp:ADDRESS:PORT");
  command.callback([options, &action] { action = [options] { return serve(*options); }; });
}

}  // namespace chronovisor::cli
