#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/merge.h"
#include "cli/parser.h"
#include "cli/report.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/translation_options.h"

namespace {

/// A reader that goes away is an error of the write, and a message, not a signal. A
/// handler is not inherited by programs that are started, as ignoring it would be.
void survive_broken_pipes() {
  struct sigaction ignored {};
  ignored.sa_handler = [](int) {};
  ignored.sa_flags = SA_RESTART;
  sigaction(SIGPIPE, &ignored, nullptr);
}

/// A daemon's or a CI's process may have none of its standard descriptors; then the next
/// file that is opened, a recording perhaps, would be what messages are written to.
void hold_standard_descriptors() {
  while (true) {
    const int descriptor = open("/dev/null", O_RDWR);
    if (descriptor < 0) return;
    if (descriptor <= STDERR_FILENO) continue;
    close(descriptor);
    return;
  }
}

/// The first word that can only be meant as a command.
std::string first_word(int argc, char** argv) {
  for (int n = 1; n < argc; ++n) {
    if (argv[n][0] != '-') return argv[n];
  }
  return {};
}

/// What is wrong with the arguments, after the command that they are for.
int refuse_arguments(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::string command = "chronovisor";
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  const std::string word = first_word(argc, argv);
  const bool unknown =
      at == &app && !word.empty() &&
      app.get_subcommands([&](const CLI::App* known) { return known->get_name() == word; }).empty();
  const std::string what =
      unknown ? "there is no command \"" + word + "\"" : std::string(error.what());
  std::fprintf(stderr, "chronovisor: %s%s\nRun \"%s --help\" for what can be given.\n",
               at == &app ? "" : (at->get_name() + ": ").c_str(), what.c_str(), command.c_str());
  return static_cast<int>(chronovisor::ErrorCode::usage);
}

/// An option that is given nothing is a shell's variable that is not set, and would count as
/// not given: a run without its limit. Only lines that a guest is told may be empty.
void require_values(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_type_name() == "ARGUMENTS") continue;
    const auto& values = option->results();
    if (std::find(values.begin(), values.end(), "") == values.end()) continue;
    throw chronovisor::Error(chronovisor::ErrorCode::usage,
                             option->get_name(option->get_positional()) + " is given nothing");
  }
  for (const CLI::App* inner : command.get_subcommands()) require_values(*inner);
}

/// @return whether all that was printed has arrived; says so when not
bool finish_standard_output() {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !failed_before) return true;
  std::fprintf(stderr, "chronovisor: standard output: %s\n",
               failed_before ? "could not be written" : std::strerror(errno));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  using chronovisor::Error;
  using chronovisor::ErrorCode;
  hold_standard_descriptors();
  survive_broken_pipes();
  CLI::App app{
      "chronovisor records a whole computer's run, replays it bit for bit, and lets gdb travel\n"
      "through it in both directions."};
  app.set_version_flag("--version", "chronovisor " CHRONOVISOR_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit status: 0 done; 1 the guest ended abnormally (a panic, a shutdown, halted with\n"
      "interrupts off, stuck, a failing debug exit); 2 usage; 3 input that cannot be used, or\n"
      "ends too early; 4 the replay diverged; 5 host trouble.");
  chronovisor::cli::Action action;
  chronovisor::cli::Command root(app);
  chronovisor::cli::add_record(root, action);
  chronovisor::cli::add_run(root, action);
  chronovisor::cli::add_live(root, action);
  chronovisor::cli::add_replay(root, action);
  chronovisor::cli::add_verify(root, action);
  chronovisor::cli::add_diff(root, action);
  chronovisor::cli::add_debug(root, action);
  chronovisor::cli::add_info(root, action);
  chronovisor::cli::add_index(root, action);
  chronovisor::cli::add_query(root, action);
  chronovisor::cli::add_symbols(root, action);
  chronovisor::cli::add_linux(root, action);
  chronovisor::cli::add_pack(root, action);
  chronovisor::cli::add_trim(root, action);
  chronovisor::cli::add_bookmark(root, action);
  chronovisor::cli::add_export(root, action);
  chronovisor::cli::add_report(root, action);
  chronovisor::cli::add_backup(root, action);
  chronovisor::cli::add_arbiter(root, action);
  chronovisor::cli::add_status(root, action);
  chronovisor::cli::add_hand_over(root, action);
  chronovisor::cli::add_switch(root, action);
  chronovisor::cli::add_doctor(root, action);
  chronovisor::cli::add_compare(root, action);
  chronovisor::cli::add_api(root, action);
  chronovisor::cli::add_mcp(root, action);
  chronovisor::cli::add_merge(root, action);
  chronovisor::cli::add_serve(root, action);
  chronovisor::cli::add_manual(root, action);
  chronovisor::cli::add_translation_options(root);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // for the help or the version
    app.exit(asked);
    return finish_standard_output() ? 0 : static_cast<int>(ErrorCode::host);
  } catch (const CLI::ParseError& error) {
    return refuse_arguments(app, error, argc, argv);
  }
  try {
    require_values(app);
    const int status = action();
    chronovisor::cli::report_translation();
    return finish_standard_output() ? status : static_cast<int>(ErrorCode::host);
  } catch (const Error& error) {
    // It may quote a file's text.
    std::fprintf(stderr, "chronovisor: %s\n",
                 chronovisor::terminal_text(error.what(), "\n\t").c_str());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "chronovisor: the host is out of memory\n");
    return static_cast<int>(ErrorCode::host);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chronovisor: %s\n", error.what());
    return static_cast<int>(ErrorCode::host);
  }
}
