#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "base/error.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/report.h"
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
  chronovisor::cli::add_record(app, action);
  chronovisor::cli::add_live(app, action);
  chronovisor::cli::add_replay(app, action);
  chronovisor::cli::add_verify(app, action);
  chronovisor::cli::add_diff(app, action);
  chronovisor::cli::add_debug(app, action);
  chronovisor::cli::add_info(app, action);
  chronovisor::cli::add_index(app, action);
  chronovisor::cli::add_query(app, action);
  chronovisor::cli::add_symbols(app, action);
  chronovisor::cli::add_linux(app, action);
  chronovisor::cli::add_pack(app, action);
  chronovisor::cli::add_trim(app, action);
  chronovisor::cli::add_bookmark(app, action);
  chronovisor::cli::add_export(app, action);
  chronovisor::cli::add_report(app, action);
  chronovisor::cli::add_backup(app, action);
  chronovisor::cli::add_arbiter(app, action);
  chronovisor::cli::add_status(app, action);
  chronovisor::cli::add_hand_over(app, action);
  chronovisor::cli::add_switch(app, action);
  chronovisor::cli::add_doctor(app, action);
  chronovisor::cli::add_compare(app, action);
  chronovisor::cli::add_api(app, action);
  chronovisor::cli::add_mcp(app, action);
  chronovisor::cli::add_manual(app, action);
  chronovisor::cli::add_translation_options(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : static_cast<int>(ErrorCode::usage);
  }
  survive_broken_pipes();
  try {
    const int status = action();
    chronovisor::cli::report_translation();
    return finish_standard_output() ? status : static_cast<int>(ErrorCode::host);
  } catch (const Error& error) {
    std::fprintf(stderr, "chronovisor: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "chronovisor: the host is out of memory\n");
    return static_cast<int>(ErrorCode::host);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chronovisor: %s\n", error.what());
    return static_cast<int>(ErrorCode::host);
  }
}
