#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/translation_options.h"

int main(int argc, char** argv) {
  using chronovisor::Error;
  using chronovisor::ErrorCode;
  CLI::App app{
      "chronovisor records a whole computer's run, replays it bit for bit, and lets gdb travel\n"
      "through it in both directions."};
  app.set_version_flag("--version", "chronovisor " CHRONOVISOR_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit status: 0 done; 1 the guest ended abnormally; 2 usage; 3 input that cannot be\n"
      "used; 4 the replay diverged; 5 host trouble.");
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
  chronovisor::cli::add_doctor(app, action);
  chronovisor::cli::add_compare(app, action);
  chronovisor::cli::add_translation_options(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : static_cast<int>(ErrorCode::usage);
  }
  try {
    const int status = action();
    chronovisor::cli::report_translation();
    return status;
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
