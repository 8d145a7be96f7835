#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/host.h"
#include "cli/timeline_target.h"
#include "gdbstub/server.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {
namespace {

struct DebugOptions {
  std::string file;
  std::string listen;
  std::string at = "start";
  std::string cache = "1G";
  std::string symbols;
  bool gdb = false;
  bool keep = false;
  bool allow_remote = false;
  bool no_verify = false;
};

Moment moment_of(const std::string& text, const Timeline& timeline) {
  if (text == "start") return {timeline.start(), 0};
  if (text == "end") return {timeline.end(), 0};
  for (const Bookmark& bookmark : timeline.reader().bookmarks()) {
    if (bookmark.name == text) return {bookmark.position, 0};
  }
  const Position position{parse_number(text, "--at")};
  if (position < timeline.start() || position > timeline.end()) {
    throw Error(ErrorCode::usage, "--at: position " + grouped(position.steps) +
                                      " is outside the recording, which covers " +
                                      grouped(timeline.start().steps) + " to " +
                                      grouped(timeline.end().steps));
  }
  return {position, 0};
}

/// Starts gdb in the foreground, connected to `address`.
pid_t start_gdb(const DebugOptions& options, const std::string& address) {
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorCode::host, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    const std::string target = "target remote " + address;
    std::vector<const char*> arguments{"gdb", "-q"};
    if (!options.symbols.empty()) arguments.push_back(options.symbols.c_str());
    for (const char* command : {"set pagination off", target.c_str()}) {
      arguments.push_back("-ex");
      arguments.push_back(command);
    }
    arguments.push_back(nullptr);
    execvp("gdb", const_cast<char* const*>(arguments.data()));
    std::fprintf(stderr, "chronovisor: gdb cannot be started: %s\n", std::strerror(errno));
    _exit(127);
  }
  return child;
}

int debug(const DebugOptions& options) {
  const RecordingReader reader(options.file);
  for (const Damage& damage : reader.damage()) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
  }
  TimelineOptions timeline_options;
  timeline_options.cache_bytes = parse_size(options.cache, "--cache");
  timeline_options.verify = !options.no_verify;
  std::string listen = options.listen;
  if (listen.empty()) {
    listen = options.gdb ? "unix:/tmp/chronovisor-" + std::to_string(getpid()) + ".sock"
                         : "tcp:127.0.0.1:1234";
  }
  gdb::ServerOptions server_options;
  server_options.listen = gdb::ListenAddress::parse(listen);
  server_options.allow_remote = options.allow_remote;
  server_options.once = !options.keep;
  server_options.stop_signals = {SIGTERM, SIGHUP};
  if (!options.gdb) server_options.stop_signals.push_back(SIGINT);
  server_options.log = [](std::string_view line) {
    std::fprintf(stderr, "chronovisor: %.*s\n", static_cast<int>(line.size()), line.data());
  };

  Timeline timeline(reader, timeline_options);
  timeline.seek(moment_of(options.at, timeline));
  TimelineTarget target(timeline);
  gdb::Server server(target, server_options);
  const gdb::ListenAddress listening = server.listening();
  if (!options.gdb) {
    if (listening.kind != gdb::ListenAddress::Kind::stdio) {
      std::fprintf(stderr, "chronovisor: %s at position %s of %s; in gdb: target remote %s\n",
                   options.file.c_str(), grouped(timeline.now().position.steps).c_str(),
                   grouped(timeline.end().steps).c_str(),
                   listening.kind == gdb::ListenAddress::Kind::unix_socket
                       ? listening.path.c_str()
                       : (listening.address + ":" + std::to_string(listening.port)).c_str());
    }
    server.run();
    return kDone;
  }
  const std::string address = listening.kind == gdb::ListenAddress::Kind::unix_socket
                                  ? listening.path
                                  : listening.address + ":" + std::to_string(listening.port);
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C is gdb's
  const pid_t child = start_gdb(options, address);
  std::thread waiter([&] {
    int status = 0;
    waitpid(child, &status, 0);
    server.stop();
  });
  server.run();
  waiter.join();
  return kDone;
}

}  // namespace

void add_debug(CLI::App& app, Action& action) {
  auto options = std::make_shared<DebugOptions>();
  CLI::App* command = app.add_subcommand("debug", "Serve a recording to gdb, both ways in time");
  command->add_option("file", options->file, "The recording")->required();
  command->add_option("--listen", options->listen,
                      "unix:PATH, tcp:ADDRESS:PORT or stdio (tcp:127.0.0.1:1234)");
  command->add_option("--at", options->at, "Where to begin: a position, start, end or a bookmark");
  command->add_option("--cache", options->cache, "Memory for checkpoints while travelling (1G)");
  command->add_option("--symbols", options->symbols, "ELF file for --gdb to load");
  command->add_flag("--gdb", options->gdb, "Start gdb, connected");
  command->add_flag("--keep", options->keep, "Wait for another client when one leaves");
  command->add_flag("--allow-remote", options->allow_remote, "Let other hosts connect over TCP");
  command->add_flag("--no-verify", options->no_verify, "Do not compare digests while travelling");
  command->callback([options, &action] { action = [options] { return debug(*options); }; });
}

}  // namespace chronovisor::cli
