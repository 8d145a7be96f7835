// export: a recording in the formats of other tools.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "host/host.h"
#include "inspect/export/cast.h"
#include "inspect/export/trace.h"
#include "inspect/export/vmcore.h"
#include "inspect/linux/kernel.h"
#include "session/place.h"
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
  CastOptions cast;
};

/// Text to standard output or to a file. Throws Error{host} when it does not
/// take it.
class TextOutput {
 public:
  explicit TextOutput(const std::string& path) : path_(path) {
    if (path == "-") return;
    owned_.reset(std::fopen(path.c_str(), "wb"));
    if (!owned_) throw file_error(ErrorCode::host, path, "create", errno);
  }
  void write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stream()) != text.size()) fail();
  }
  void finish() {
    if (std::fflush(stream()) != 0) fail();
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[nodiscard]] std::FILE* stream() const { return owned_ ? owned_.get() : stdout; }
  [[noreturn]] void fail() const {
    throw file_error(ErrorCode::host, path_ == "-" ? "standard output" : path_, "write", errno);
  }
  std::string path_;
  std::unique_ptr<std::FILE, Close> owned_;
};

Position inside(Position position, const RecordingReader& reader, const char* option) {
  if (position >= reader.start() && position <= reader.usable_to()) return position;
  throw Error(ErrorCode::usage, std::string(option) + ": position " + grouped(position.steps) +
                                    " is outside the recording, which covers " +
                                    grouped(reader.start().steps) + " to " +
                                    grouped(reader.usable_to().steps));
}

void travel(Timeline& timeline, Position position) {
  watch_stop_signals();
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

void vmcore(const ExportOptions& options, const RecordingReader& reader) {
  if (options.output == "-") {
    throw Error(ErrorCode::usage, "--format vmcore writes a file; name it with -o");
  }
  const Position position = inside(
      recorded_place(options.at.empty() ? "end" : options.at, reader, "--at"), reader, "--at");
  Timeline timeline(reader, {});
  travel(timeline, position);
  PosixOutputFile file(options.output, ExistingFile::replace);
  const VmcoreFacts facts =
      export_vmcore(timeline.machine(), current_pid(timeline.machine()), file);
  std::fprintf(
      stderr, "chronovisor: %s: %s, the machine at position %s; %s\n", options.output.c_str(),
      size_text(facts.bytes).c_str(), grouped(position.steps).c_str(),
      facts.vmcoreinfo.empty() ? "no VMCOREINFO was found in its memory"
                               : facts.vmcoreinfo.substr(0, facts.vmcoreinfo.find('\n')).c_str());
}

void trace(const ExportOptions& options, const RecordingReader& reader) {
  if (options.from.empty() || options.to.empty()) {
    throw Error(ErrorCode::usage, "--format trace needs --from and --to");
  }
  const Position from = inside(recorded_place(options.from, reader, "--from"), reader, "--from");
  const Position to = inside(recorded_place(options.to, reader, "--to"), reader, "--to");
  if (to < from) throw Error(ErrorCode::usage, "--to is before --from");
  Timeline timeline(reader, {});
  travel(timeline, from);
  TextOutput out(options.output);
  export_trace(timeline.machine(), to, [&](std::string_view text) {
    if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
    out.write(text);
  });
  out.finish();
}

int export_recording(const ExportOptions& options) {
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  for (const Damage& damage : reader.damage()) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
  }
  if (options.format == "cast") {
    TextOutput out(options.output);
    export_cast(reader, options.cast, [&](std::string_view text) { out.write(text); });
    out.finish();
  } else if (options.format == "vmcore") {
    vmcore(options, reader);
  } else {
    trace(options, reader);
  }
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command =
      app.add_subcommand("export", "Write a recording in the formats of other tools");
  command->add_option("file", options->file, "The recording")->required();
  command
      ->add_option("--format", options->format,
                   "cast: the console, for asciinema; vmcore: an ELF core, for crash, drgn and "
                   "gdb; trace: one instruction a line")
      ->required()
      ->check(CLI::IsMember({"cast", "vmcore", "trace"}));
  command->add_option("-o,--output", options->output, "Where to (-: standard output)");
  command->add_option("--at", options->at, "vmcore: a position or bookmark (end)");
  command->add_option("--from", options->from, "trace: the first position, or a bookmark");
  command->add_option("--to", options->to, "trace: the position to stop at, or a bookmark");
  command->add_option("--width", options->cast.width, "cast: columns of the terminal (80)")
      ->check(CLI::Range(1, 10'000));
  command->add_option("--height", options->cast.height, "cast: rows of the terminal (24)")
      ->check(CLI::Range(1, 10'000));
  command->callback(
      [options, &action] { action = [options] { return export_recording(*options); }; });
}

}  // namespace chronovisor::cli
