#include "cli/symbols.h"

#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "host/host.h"
#include "inspect/linux/kernel.h"
#include "inspect/linux/orc.h"
#include "inspect/linux/symbol_file.h"
#include "recorder/edit/new_file.h"
#include "session/debug_session.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

struct Options {
  std::string file;
  std::string output;
  std::string at;
  bool force = false;
  bool json = false;
};

/// The recording, standing where the user said, or else at its last
/// checkpoint: late enough for a kernel to be up, and cheap to reach.
struct Opened {
  std::unique_ptr<RecordingReader> recording;
  const RecordingReader& reader = *recording;
  Timeline timeline;
  explicit Opened(const Options& options)
      : recording(open_with_positions(options.file)), timeline(reader, TimelineOptions{}) {
    if (!options.at.empty()) {
      timeline.seek({recorded_place(options.at, reader, "--at"), 0});
    } else if (!reader.checkpoints().empty()) {
      timeline.seek({reader.checkpoints().back().position, 0});
    }
  }
};

int symbols(const Options& options) {
  require_no_terminal(options.output);
  // Refused before the guest is run.
  require_free_output({options.output, {options.file}, options.force});
  watch_stop_signals();
  Opened opened(options);
  const std::size_t count = write_linux_symbols(opened.timeline, options.output, options.force);
  std::fprintf(stderr, "chronovisor: %s: %s symbols, as of position %s\n", options.output.c_str(),
               grouped(count).c_str(), grouped(opened.timeline.now().position.steps).c_str());
  return kDone;
}

/// Asks the session at the place chosen, and prints the answer.
template <typename Request>
int ask(const Options& options) {
  Opened opened(options);
  session::DebugSession debugging(opened.timeline);
  const session::Answer answer = debugging.ask(Request{}, stop_signal());
  const std::string text =
      options.json ? session::json_of(answer) + "\n" : session::text_of(answer);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kDone;
}

void add_one(Command& app, Action& action, const char* name, const char* help,
             int (*run)(const Options&)) {
  auto options = std::make_shared<Options>();
  Command command = app.add_subcommand(name, help);
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_option("--at", options->at, "The position (the last checkpoint)")
      .type_name(kPlaceValues);
  if (run == symbols) {
    add_output_option(command, options->output, "The ELF file to write").required();
    add_force_flag(command, options->force, Replaceable::nothing);
  } else {
    command.add_flag("--json", options->json, "Report as JSON");
  }
  command.callback([options, run, &action] { action = [options, run] { return run(*options); }; });
}

}  // namespace

std::size_t write_linux_symbols(Timeline& timeline, const std::string& path, bool force) {
  NewFile output({path, {timeline.reader().name()}, force}, stop_signal());
  const linux_guest::Kernel kernel(timeline.machine());
  std::vector<linux_guest::KernelSymbol> all = kernel.symbols();
  std::vector<linux_guest::SymbolRegion> regions = linux_guest::kernel_regions(all);
  std::vector<linux_guest::Module> modules;
  try {
    modules = kernel.modules();
    for (const linux_guest::Module& module : modules) {
      if (module.size == 0) continue;
      regions.push_back({".text." + module.name, module.base, module.base + module.size, true});
      all.insert(all.end(), module.symbols.begin(), module.symbols.end());
    }
  } catch (const Error& error) {
    // The kernel's own symbols are worth having without those of its modules.
    std::fprintf(stderr, "chronovisor: warning: the modules are left out: %s\n", error.what());
  }
  const std::vector<linux_guest::KernelSymbol> early = kernel.early_symbols();
  if (!early.empty()) {
    // A breakpoint by such a name is then one at both addresses.
    constexpr std::uint64_t kPage = 4096;
    regions.push_back({".head.text.physical", early.front().address & ~(kPage - 1),
                       (early.back().address & ~(kPage - 1)) + kPage, true});
    all.insert(all.end(), early.begin(), early.end());
  }
  const Bytes frames = linux_guest::frames_from_orc(kernel, modules);
  const std::size_t count = all.size();
  output.open()->append(linux_guest::make_symbol_file(std::move(all), regions, frames));
  output.commit();
  return count;
}

void add_symbols(Command& app, Action& action) {
  add_one(app, action, "symbols", "Write the guest kernel's symbols as an ELF file", symbols);
}
void add_linux(Command& app, Action& action) {
  add_one(app, action, "linux-log", "Show the guest kernel's log at a position",
          ask<session::LinuxLogRequest>);
  add_one(app, action, "linux-tasks", "Show the guest's processes at a position",
          ask<session::LinuxTasksRequest>);
  add_one(app, action, "linux-modules", "Show the guest kernel's modules at a position",
          ask<session::LinuxModulesRequest>);
}

}  // namespace chronovisor::cli
