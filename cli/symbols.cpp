#include "cli/symbols.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "host/host.h"
#include "inspect/linux/kernel.h"
#include "inspect/linux/orc.h"
#include "inspect/linux/symbol_file.h"
#include "recorder/edit/new_file.h"

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
      timeline.seek(moment_of(options.at, timeline));
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

int print_json(const nlohmann::ordered_json& json) {
  std::printf("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  return kDone;
}

int linux_log(const Options& options) {
  Opened opened(options);
  const linux_guest::Kernel kernel(opened.timeline.machine());
  if (!options.json) {
    std::fputs(linux_guest::log_as_text(kernel).c_str(), stdout);
    return kDone;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const linux_guest::LogLine& line : kernel.log()) {
    json.push_back({{"time_ns", line.time_ns}, {"level", line.level}, {"text", line.text}});
  }
  return print_json(json);
}

int linux_tasks(const Options& options) {
  Opened opened(options);
  const linux_guest::Kernel kernel(opened.timeline.machine());
  if (!options.json) {
    std::fputs(linux_guest::tasks_as_text(kernel).c_str(), stdout);
    return kDone;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const linux_guest::Task& task : kernel.tasks()) {
    json.push_back({{"pid", task.pid},
                    {"parent", task.parent},
                    {"name", task.name},
                    {"state", std::string(1, task.state)},
                    {"threads", task.threads},
                    {"kernel_thread", task.kernel_thread},
                    {"on_cpu", task.on_cpu},
                    {"task_struct", task.address}});
  }
  return print_json(json);
}

int linux_modules(const Options& options) {
  Opened opened(options);
  const linux_guest::Kernel kernel(opened.timeline.machine());
  if (!options.json) {
    std::fputs(linux_guest::modules_as_text(kernel).c_str(), stdout);
    return kDone;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const linux_guest::Module& module : kernel.modules()) {
    json.push_back({{"name", module.name}, {"base", module.base}, {"size", module.size}});
  }
  return print_json(json);
}

void add_one(CLI::App& app, Action& action, const char* name, const char* help,
             int (*run)(const Options&)) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command->add_option("--at", options->at, "The position (the last checkpoint)")
      ->type_name(kPlaceValues);
  if (run == symbols) {
    add_output_option(*command, options->output, "The ELF file to write")->required();
    add_force_flag(*command, options->force, Replaceable::nothing);
  } else {
    command->add_flag("--json", options->json, "Report as JSON");
  }
  command->callback([options, run, &action] { action = [options, run] { return run(*options); }; });
}

}  // namespace

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

std::size_t write_linux_symbols(Timeline& timeline, const std::string& path, bool force) {
  NewFile output({path, {timeline.reader().name()}, force}, &stop_signal());
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
  const Bytes frames = linux_guest::frames_from_orc(kernel, modules);
  const std::size_t count = all.size();
  output.open()->append(linux_guest::make_symbol_file(std::move(all), regions, frames));
  output.commit();
  return count;
}

void add_symbols(CLI::App& app, Action& action) {
  add_one(app, action, "symbols", "Write the guest kernel's symbols as an ELF file", symbols);
}
void add_linux(CLI::App& app, Action& action) {
  add_one(app, action, "linux-log", "Show the guest kernel's log at a position", linux_log);
  add_one(app, action, "linux-tasks", "Show the guest's processes at a position", linux_tasks);
  add_one(app, action, "linux-modules", "Show the guest kernel's modules at a position",
          linux_modules);
}

}  // namespace chronovisor::cli
