#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/parser.h"
#include "cli/scratch_folder.h"
#include "cli/symbols.h"
#include "debugger/timeline_target.h"
#include "gdbstub/server.h"
#include "host/host.h"
#include "recorder/format/start_condition.h"
#include "session/place.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

using debugger::RegisterLayout;
using debugger::TimelineTarget;

namespace {

constexpr std::uint64_t kMostJobs = 256;

struct DebugOptions {
  std::string file;
  std::string listen;
  std::string at = "start";
  std::string cache = "1G";
  std::string jobs = "0";
  std::string symbols;
  std::string vmlinux;
  std::string architecture = "auto";
  std::string gdb;          ///< the debugger to start; empty: none
  std::string allow_files;  ///< a folder; empty: as the kind of connection has it
  bool keep = false;
  bool allow_remote = false;
  bool no_verify = false;
  bool no_index = false;
};

/// The class of an ELF file (32 or 64 bits), the fifth byte; nothing: it is none.
/// (System V ABI, "ELF Header", e_ident)
std::optional<int> elf_class(const std::string& path) {
  constexpr std::string_view kMagic =
      "\x7f"
      "ELF";
  std::string start(kMagic.size() + 1, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(start.data(), static_cast<std::streamsize>(start.size()))) return std::nullopt;
  if (!start.starts_with(kMagic)) return std::nullopt;
  return start.back();
}

bool is_elf32(const std::string& path) { return elf_class(path) == 1; }

/// The commands for gdb, beside the program or in the tree it was built in;
/// empty when they are not to be found.
std::string gdb_commands() {
  std::error_code failed;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", failed);
  for (std::filesystem::path folder = program.parent_path(); !failed;
       folder = folder.parent_path()) {
    for (const char* place :
         {"share/chronovisor/gdb/chronovisor.py", "scripts/gdb/chronovisor.py"}) {
      if (std::filesystem::exists(folder / place, failed)) return (folder / place).string();
    }
    if (folder == folder.parent_path()) break;
  }
  // A build outside the tree.
  const std::filesystem::path tree = CHRONOVISOR_SOURCE_DIR;
  const std::filesystem::path commands = tree / "scripts/gdb/chronovisor.py";
  return std::filesystem::exists(commands, failed) ? commands.string() : std::string();
}

/// The guest's own symbols, if it carries any: those of a Linux kernel from its
/// memory, or the ELF file that was booted. Leaves the timeline anywhere.
std::string guest_symbols(Timeline& timeline, const ScratchFolder& scratch) {
  const RecordingReader& reader = timeline.reader();
  if (!reader.checkpoints().empty()) timeline.seek({reader.checkpoints().back().position, 0});
  const StartCondition start = start_of(reader);
  if (start.kind == BootKind::linux_kernel) {
    try {
      const std::string file = scratch.file("kernel.elf");
      write_linux_symbols(timeline, file);
      return file;
    } catch (const Error& error) {
      std::fprintf(stderr, "chronovisor: no kernel symbols: %s\n", error.what());
    }
  }
  if (start.kind == BootKind::multiboot) {
    const std::string file = scratch.file("guest.elf");
    Bytes image;
    try {
      image = images_of(reader)(kKernelRole);
    } catch (const Error& error) {
      // A part of a recording does not carry its images.
      std::fprintf(stderr, "chronovisor: no symbols: %s\n", error.what());
      return {};
    }
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(image.data()),
              static_cast<std::streamsize>(image.size()));
    out.close();
    // A 32-bit file around 64-bit code would only mislead.
    if (out && !(is_elf32(file) && timeline.machine().cpu().long_mode_active())) return file;
  }
  return {};
}

RegisterLayout layout_of(const DebugOptions& options, const std::string& symbols) {
  if (options.architecture == "i386") return RegisterLayout::i386;
  if (options.architecture == "x86-64") return RegisterLayout::x86_64;
  // gdb refuses a 64-bit target once it has 32-bit symbols.
  return is_elf32(symbols) ? RegisterLayout::i386 : RegisterLayout::x86_64;
}

bool is_lldb(const std::string& debugger) { return debugger.find("lldb") != std::string::npos; }

/// A debugger would say what is wrong with it and go on without.
void require_elf(const std::string& path, const char* option) {
  if (access(path.c_str(), R_OK) != 0) {
    throw Error(ErrorCode::bad_input, path + ": " + std::strerror(errno));
  }
  if (!elf_class(path)) {
    throw Error(ErrorCode::bad_input, std::string(option) + " " + path + ": is no ELF file");
  }
}

/// Refuses files that could only be ignored.
void check_symbols(const DebugOptions& options) {
  if (!options.symbols.empty()) require_elf(options.symbols, "--symbols");
  if (options.vmlinux.empty()) return;
  if (options.gdb.empty() || is_lldb(options.gdb)) {
    throw Error(ErrorCode::usage,
                "--vmlinux is for --gdb; in another gdb: chronovisor add-vmlinux FILE");
  }
  require_elf(options.vmlinux, "--vmlinux");
  if (options.vmlinux.find_first_of("\"\\") != std::string::npos) {
    throw Error(ErrorCode::usage, options.vmlinux + ": gdb cannot be told of such a name");
  }
  if (gdb_commands().empty()) {
    throw Error(ErrorCode::host, "--vmlinux needs the commands for gdb, chronovisor.py");
  }
}

/// Starts the debugger in the foreground, connected to `address`, with the
/// kernel's `vmlinux` unless empty. Throws Error{host} when it cannot be started.
pid_t start_debugger(const std::string& debugger, const std::string& symbols,
                     const std::string& vmlinux, RegisterLayout layout,
                     const gdb::ListenAddress& listening) {
  const bool local = listening.kind == gdb::ListenAddress::Kind::unix_socket;
  const std::string address =
      local ? listening.path : listening.address + ":" + std::to_string(listening.port);
  std::vector<std::string> arguments;
  if (is_lldb(debugger)) {
    arguments = {debugger};
    if (!symbols.empty()) arguments.push_back(symbols);
    const std::string url = local ? "unix-connect://" + listening.path : "connect://" + address;
    arguments.insert(arguments.end(), {"-o", "process connect --plugin gdb-remote " + url});
  } else {
    arguments = {debugger, "-q"};
    if (!symbols.empty()) arguments.push_back(symbols);
    const bool wide = layout == RegisterLayout::x86_64;
    for (const std::string& command :
         {std::string("set pagination off"),
          std::string("set architecture ") + (wide ? "i386:x86-64" : "i386"),
          "target remote " + address}) {
      arguments.insert(arguments.end(), {"-ex", command});
    }
    const std::string commands = gdb_commands();
    if (!commands.empty()) arguments.insert(arguments.end(), {"-x", commands});
    if (!vmlinux.empty()) {
      arguments.insert(arguments.end(), {"-ex", "chronovisor add-vmlinux \"" + vmlinux + "\""});
    }
  }
  // Closed when the debugger starts; otherwise it carries the reason why not.
  std::array<int, 2> trouble{};
  if (pipe2(trouble.data(), O_CLOEXEC) != 0) {
    throw Error(ErrorCode::host, std::string("pipe: ") + std::strerror(errno));
  }
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorCode::host, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    std::signal(SIGINT, SIG_DFL);
    std::vector<char*> raw;
    for (std::string& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    execvp(raw[0], raw.data());
    const int reason = errno;
    const ssize_t told = write(trouble[1], &reason, sizeof(reason));
    _exit(told == sizeof(reason) ? 0 : 1);
  }
  close(trouble[1]);
  int reason = 0;
  ssize_t heard = 0;
  do {
    heard = read(trouble[0], &reason, sizeof(reason));
  } while (heard < 0 && errno == EINTR);
  close(trouble[0]);
  if (heard == sizeof(reason)) {
    waitpid(child, nullptr, 0);
    throw Error(ErrorCode::host, debugger + " cannot be started: " + std::strerror(reason));
  }
  return child;
}

/// How a debugger that was started has gone, if not as one does that was used: nothing
/// then. `used`: it connected.
std::optional<std::string> trouble_of(int status, bool used) {
  std::string how;
  if (WIFSIGNALED(status)) {
    how = std::string("was ended by signal ") + std::to_string(WTERMSIG(status)) + " (" +
          strsignal(WTERMSIG(status)) + ")";
  } else if (WEXITSTATUS(status) != 0 || !used) {
    how = "ended with status " + std::to_string(WEXITSTATUS(status));
  }
  if (how.empty()) return std::nullopt;
  return used ? how : how + ", without having connected";
}

/// Anything on this host can connect to a TCP port, whoever runs it; a Unix
/// socket and a pipe are its owner's alone.
AllowedFiles allowed_files(const DebugOptions& options, gdb::ListenAddress::Kind kind) {
  if (!options.allow_files.empty()) return AllowedFiles::inside(options.allow_files);
  if (kind != gdb::ListenAddress::Kind::tcp) return AllowedFiles::all();
  return AllowedFiles::none(
      "over TCP, debug --allow-files DIR allows those in one folder; with --listen unix:PATH or "
      "stdio there is no such limit");
}

/// How a debugger gets there.
std::string connect_hint(const std::string& file, const gdb::ListenAddress& listening) {
  if (listening.kind == gdb::ListenAddress::Kind::unix_socket) {
    return "in gdb: target remote " + listening.path;
  }
  return "in gdb: target remote " + listening.address + ":" + std::to_string(listening.port) +
         " (any user of this host can connect; for you alone: chronovisor debug " + file +
         " --listen unix:PATH)";
}

/// While a recording is being opened, lets a debugger at the other end of a pipe hear
/// that somebody is there: gdb gives up after two seconds of silence, and sends again.
class SignsOfLife {
 public:
  SignsOfLife() : thread_([this] { give(); }) {}
  ~SignsOfLife() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  SignsOfLife(const SignsOfLife&) = delete;
  SignsOfLife& operator=(const SignsOfLife&) = delete;

 private:
  void give() {
    auto pause = std::chrono::milliseconds(1000);
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, pause, [this] { return open_; })) {
      if (::write(STDOUT_FILENO, "+", 1) != 1) return;  // an acknowledgement of whatever it was
      pause = std::chrono::milliseconds(400);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  std::thread thread_;
};

int debug(const DebugOptions& options) {
  check_symbols(options);
  TimelineOptions timeline_options;
  timeline_options.cache_bytes = parse_size(options.cache, "--cache");
  const auto opened =
      open_with_positions(options.file, ReaderOptions::within(timeline_options.cache_bytes));
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  timeline_options.verify = !options.no_verify;
  timeline_options.use_index = !options.no_index;
  const std::uint64_t jobs = parse_number(options.jobs, "--jobs");
  if (jobs > kMostJobs) {
    throw Error(ErrorCode::usage, "--jobs: " + options.jobs + " is not from 0 to 256");
  }
  timeline_options.jobs = static_cast<unsigned>(jobs);
  const bool starts = !options.gdb.empty();
  std::string listen = options.listen;
  if (listen.empty()) {
    listen = starts ? "unix:/tmp/chronovisor-" + std::to_string(getpid()) + ".sock"
                    : "tcp:127.0.0.1:1234";
  }
  gdb::ServerOptions server_options;
  server_options.listen = gdb::ListenAddress::parse(listen);
  server_options.allow_remote = options.allow_remote;
  server_options.once = !options.keep;
  server_options.stop_signals = {SIGTERM, SIGHUP};
  if (!starts) server_options.stop_signals.push_back(SIGINT);
  server_options.log = [](std::string_view line) {
    std::fprintf(stderr, "chronovisor: %.*s\n", static_cast<int>(line.size()), line.data());
  };

  std::optional<SignsOfLife> life;
  if (server_options.listen.kind == gdb::ListenAddress::Kind::stdio) life.emplace();
  Timeline timeline(reader, timeline_options);
  std::optional<ScratchFolder> scratch;
  std::string symbols = options.symbols;
  if (starts && symbols.empty()) symbols = guest_symbols(timeline, scratch.emplace());
  timeline.seek({recorded_place(options.at, reader, "--at"), 0});
  const RegisterLayout layout = layout_of(options, symbols);
  session::DebugSession debugging(timeline, allowed_files(options, server_options.listen.kind));
  const auto way_back = [&](CancelToken cancel) { timeline.prepare_way_back(cancel); };
  session::Executor executor;
  TimelineTarget target(debugging, executor, layout);
  life.reset();
  gdb::Server server(target, server_options);
  const gdb::ListenAddress listening = server.listening();
  if (!starts) {
    if (listening.kind != gdb::ListenAddress::Kind::stdio) {
      std::fprintf(stderr, "chronovisor: %s at position %s of %s; %s\n", options.file.c_str(),
                   grouped(timeline.now().position.steps).c_str(),
                   grouped(timeline.end().steps).c_str(),
                   connect_hint(options.file, listening).c_str());
    }
    executor.set_idle_job(way_back);
    server.run();
    return kDone;
  }
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C is the debugger's
  const pid_t child = start_debugger(options.gdb, symbols, options.vmlinux, layout, listening);
  int status = 0;
  executor.set_idle_job(way_back);
  std::thread waiter([&] {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    server.stop();
  });
  server.run();
  waiter.join();
  if (const auto trouble = trouble_of(status, server.served_somebody())) {
    throw Error(ErrorCode::host, options.gdb + " " + *trouble);
  }
  return kDone;
}

}  // namespace

void add_debug(Command& app, Action& action) {
  auto options = std::make_shared<DebugOptions>();
  Command command = app.add_subcommand("debug", "Serve a recording to gdb, both ways in time");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_option("--listen", options->listen, "Where gdb connects (tcp:127.0.0.1:1234)")
      .type_name("unix:PATH|tcp:ADDRESS:PORT|stdio");
  command.add_option("--at", options->at, "Where to begin (start)").type_name(kPlaceValues);
  command.add_option("--cache", options->cache, "Memory for checkpoints while travelling (1G)")
      .type_name("SIZE");
  command.add_option("-j,--jobs", options->jobs, "Threads that search (one a core)")
      .type_name("NUMBER");
  command.add_option("--symbols", options->symbols, "ELF file for --gdb to load (the guest's own)")
      .type_name("FILE");
  command
      .add_option("--vmlinux", options->vmlinux,
                  "The Linux guest's vmlinux with debug information, for --gdb to load where "
                  "KASLR put the kernel")
      .type_name("FILE");
  command
      .add_option("--architecture", options->architecture,
                  "Registers as x86-64 or i386; auto: i386 with 32-bit --symbols")
      .type_name("auto|x86-64|i386")
      .one_of({"auto", "x86-64", "i386"});
  command.add_flag("--gdb{gdb}", options->gdb,
                   "Start gdb, or --gdb=PROGRAM (lldb), connected and with the guest's symbols");
  command
      .add_option("--allow-files", options->allow_files,
                  "Let monitor commands name files in this folder, and no others (over TCP: "
                  "none; else: all)")
      .type_name("DIR");
  command.add_flag("--keep", options->keep, "Wait for another debugger when the last one leaves");
  command.add_flag("--allow-remote", options->allow_remote, "Let other hosts connect over TCP");
  command.add_flag("--no-verify", options->no_verify, "Do not compare digests while travelling");
  command.add_flag("--no-index", options->no_index,
                   "Search also what the recording's index rules out");
  command.callback([options, &action] { action = [options] { return debug(*options); }; });
}

}  // namespace chronovisor::cli
