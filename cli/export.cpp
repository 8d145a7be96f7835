// export: a recording in the formats of other tools.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/recorded_range.h"
#include "host/host.h"
#include "inspect/export/cast.h"
#include "inspect/export/trace.h"
#include "inspect/export/vmcore.h"
#include "inspect/linux/kernel.h"
#include "recorder/edit/new_file.h"
#include "timetravel/restore.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {
namespace {

struct ExportOptions {
  std::string file;
  std::string format;
  std::string output = "-";
  std::string at;
  std::string from;
  std::string to;
  std::optional<unsigned> width;
  std::optional<unsigned> height;
  bool force = false;
};

/// Text on its way into a file.
class TextOutput {
 public:
  explicit TextOutput(std::unique_ptr<OutputFile> file) : file_(std::move(file)) {}
  void write(std::string_view text) {
    held_ += text;
    if (held_.size() >= kHeldBytes) finish();
  }
  void finish() {
    file_->append(as_bytes(held_));
    held_.clear();
  }

 private:
  static constexpr std::size_t kHeldBytes = 1U << 16;
  std::unique_ptr<OutputFile> file_;
  std::string held_;
};

void travel(Timeline& timeline, Position position) {
  if (timeline.seek({position, 0}, &stop_signal()) == TravelStop::interrupted) {
    throw Error(ErrorCode::host, "interrupted");
  }
}

/// Of the thread that a Linux guest runs; 0 for other guests.
std::uint32_t current_pid(Machine& machine) {
  try {
    const auto task = linux_guest::Kernel(machine).current();
    return task ? task->pid : 0;
  } catch (const Error&) {
    return 0;  // no Linux kernel is up here: the core is of use without
  }
}

void vmcore(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  const Position position = covered_place(options.at.empty() ? "end" : options.at, reader, "--at");
  // A recorded state needs no replay, so it can be had of a machine of any behaviour.
  const auto checkpoint = reader.checkpoint_before(position);
  std::unique_ptr<Machine> recorded;
  std::optional<Timeline> timeline;
  if (checkpoint && reader.checkpoints()[*checkpoint].position == position) {
    recorded = machine_at_checkpoint(reader, *checkpoint);
  } else {
    travel(timeline.emplace(reader, TimelineOptions{}), position);
  }
  Machine& machine = recorded ? *recorded : timeline->machine();
  const VmcoreFacts facts = export_vmcore(machine, current_pid(machine), *output.open());
  std::fprintf(
      stderr, "chronovisor: %s: %s, the machine at position %s; %s\n", options.output.c_str(),
      size_text(facts.bytes).c_str(), grouped(position.steps).c_str(),
      facts.vmcoreinfo.empty() ? "no VMCOREINFO was found in its memory"
                               : facts.vmcoreinfo.substr(0, facts.vmcoreinfo.find('\n')).c_str());
}

void trace(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  const Position from = covered_place(options.from, reader, "--from");
  const Position to = covered_place(options.to, reader, "--to");
  if (to < from) throw Error(ErrorCode::usage, "--to is before --from");
  Timeline timeline(reader, {});
  travel(timeline, from);
  TextOutput out(output.open());
  export_trace(timeline.machine(), to, [&](std::string_view text) {
    if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
    out.write(text);
  });
  out.finish();
}

void cast(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  TextOutput out(output.open());
  CastOptions shape;
  if (options.width) shape.width = *options.width;
  if (options.height) shape.height = *options.height;
  export_cast(reader, shape, [&](std::string_view text) { out.write(text); });
  out.finish();
}

/// Throws Error{usage} for an option that says nothing about this format.
void require_fitting_options(const ExportOptions& options) {
  const auto only_for = [&](const char* format, const char* option, bool given) {
    if (!given || options.format == format) return;
    throw Error(ErrorCode::usage,
                std::string(option) + " goes with --format " + format + ", not " + options.format);
  };
  only_for("vmcore", "--at", !options.at.empty());
  only_for("trace", "--from", !options.from.empty());
  only_for("trace", "--to", !options.to.empty());
  only_for("cast", "--width", options.width.has_value());
  only_for("cast", "--height", options.height.has_value());
  if (options.format == "trace" && (options.from.empty() || options.to.empty())) {
    throw Error(ErrorCode::usage, "--format trace needs --from and --to");
  }
  if (options.format == "vmcore") require_no_terminal(options.output);
  if (options.force && options.output == "-") {
    throw Error(ErrorCode::usage, "--force goes with --output");
  }
}

int export_recording(const ExportOptions& options) {
  require_fitting_options(options);
  require_range_syntax(options.from, options.to);
  NewFile output({options.output, {options.file}, options.force}, &stop_signal());
  watch_stop_signals();
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  for (const Damage& damage : reader.damage()) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
  }
  if (options.format == "cast") {
    cast(options, reader, output);
  } else if (options.format == "vmcore") {
    vmcore(options, reader, output);
  } else {
    trace(options, reader, output);
  }
  output.commit();
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      app.add_subcommand("export", "Write a recording in the formats of other tools");
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command
      ->add_option("--format", options->format,
                   "cast: the console, for asciinema; vmcore: an ELF core, for crash, drgn and "
                   "gdb; trace: one instruction a line")
      ->required()
      ->type_name("cast|vmcore|trace")
      ->check(CLI::IsMember({"cast", "vmcore", "trace"}).description(""));
  add_output_option(*command, options->output, "Where to (-: standard output)");
  add_force_flag(*command, options->force, Replaceable::nothing);
  command->add_option("--at", options->at, "vmcore: the position (end)")->type_name(kPlaceValues);
  command->add_option("--from", options->from, "trace: the first position")
      ->type_name(kPlaceValues);
  command->add_option("--to", options->to, "trace: the position to stop at")
      ->type_name(kPlaceValues);
  command->add_option("--width", options->width, "cast: columns of the terminal (80)")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, 10'000).description(""));
  command->add_option("--height", options->height, "cast: rows of the terminal (24)")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, 10'000).description(""));
  command->callback(
      [options, &action] { action = [options] { return export_recording(*options); }; });
}

}  // namespace chronovisor::cli
