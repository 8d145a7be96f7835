#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/console_output.h"
#include "cli/exit_status.h"
#include "cli/host.h"
#include "cli/live_input.h"
#include "cli/output_path.h"
#include "recorder/chunk.h"
#include "recorder/file.h"
#include "recorder/flight_recorder.h"
#include "recorder/run_recorder.h"
#include "recorder/start_condition.h"
#include "vmm/kvm/kvm_engine.h"

namespace chronovisor::cli {
namespace {

struct RecordOptions {
  std::string output;
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string multiboot;
  std::vector<std::string> modules;
  std::string flat;
  std::string memory = "256M";
  std::string engine = "soft";
  std::string kvm_device = kvm::kDevicePath;
  std::string idle;
  std::string serial = "stdio";
  std::string limit;
  std::string checkpoint_every;
  double checkpoint_budget = 4;
  std::string keep;
  std::string sync = "none";
  std::string rtc;
  std::string seed;
  bool force = false;
  bool no_checkpoints = false;
  bool reference_images = false;
  bool json = false;
};

/// The files of a start condition, by role.
struct Images {
  std::vector<std::pair<std::string, std::string>> paths;  ///< role, path
  [[nodiscard]] const std::string& path(const std::string& role) const {
    for (const auto& [r, p] : paths) {
      if (r == role) return p;
    }
    throw Error(ErrorCode::usage, "no file was given for " + role);
  }
};

Bytes read_whole(const std::string& path) {
  const PosixInputFile file(path);
  Bytes bytes(file.size());
  if (file.read(0, bytes) != bytes.size()) {
    throw Error(ErrorCode::bad_input, path + ": changed while it was read");
  }
  return bytes;
}

void parse_flat(const std::string& text, StartCondition& start, Images& images) {
  const std::size_t at = text.rfind('@');
  std::string path = text;
  if (at != std::string::npos && at > 0) {
    path = text.substr(0, at);
    start.flat_address = parse_number(text.substr(at + 1), "--flat " + text);
  }
  start.kernel_name = path;
  images.paths.emplace_back(kKernelRole, path);
}

StartCondition start_from(const RecordOptions& options, Images& images) {
  StartCondition start;
  const int kinds = static_cast<int>(!options.kernel.empty()) +
                    static_cast<int>(!options.multiboot.empty()) +
                    static_cast<int>(!options.flat.empty());
  if (kinds != 1) {
    throw Error(ErrorCode::usage, "give one of --kernel, --multiboot and --flat");
  }
  start.engine = options.engine;
  start.command_line = options.append;
  if (!options.kernel.empty()) {
    start.kind = BootKind::linux_kernel;
    start.kernel_name = options.kernel;
    images.paths.emplace_back(kKernelRole, options.kernel);
    if (!options.initrd.empty()) {
      start.initrd_name = options.initrd;
      images.paths.emplace_back(kInitrdRole, options.initrd);
    }
  } else if (!options.multiboot.empty()) {
    start.kind = BootKind::multiboot;
    start.kernel_name = options.multiboot;
    images.paths.emplace_back(kKernelRole, options.multiboot);
    for (const std::string& module : options.modules) {
      const std::size_t comma = module.find(',');
      const std::string path = module.substr(0, comma);
      start.modules.push_back(
          {path, comma == std::string::npos ? std::string{} : module.substr(comma + 1)});
      images.paths.emplace_back(module_role(start.modules.size() - 1), path);
    }
  } else {
    start.kind = BootKind::flat;
    parse_flat(options.flat, start, images);
  }
  if (!options.initrd.empty() && start.kind != BootKind::linux_kernel) {
    throw Error(ErrorCode::usage, "--initrd goes with --kernel; --multiboot takes --module");
  }
  if (!options.modules.empty() && start.kind != BootKind::multiboot) {
    throw Error(ErrorCode::usage, "--module goes with --multiboot");
  }
  if (!options.append.empty() && start.kind == BootKind::flat) {
    throw Error(ErrorCode::usage, "--append goes with --kernel or --multiboot");
  }
  start.machine.memory_bytes = parse_size(options.memory, "--memory");
  start.machine.rtc_start_unix_seconds =
      options.rtc.empty() ? 1'735'689'600
                          : static_cast<std::int64_t>(parse_number(options.rtc, "--rtc"));
  if (options.rtc == "now") start.machine.rtc_start_unix_seconds = unix_seconds();
  start.machine.entropy_seed = options.seed.empty()       ? 0
                               : options.seed == "random" ? host_entropy()
                                                          : parse_number(options.seed, "--seed");
  start.host = host_description();
  start.created_utc = utc_text(unix_seconds());
  return start;
}

SyncPolicy sync_of(const std::string& text) {
  if (text == "none") return SyncPolicy::none;
  if (text == "interval") return SyncPolicy::interval;
  if (text == "output") return SyncPolicy::output;
  throw Error(ErrorCode::usage, "--sync: \"" + text + "\" is none of none, interval and output");
}

/// "60s", "500ms", "10min" or "1h" of virtual time; with "-wall", of the
/// clock's; "500M" and the like, bytes.
KeepPolicy parse_keep(const std::string& text) {
  std::string number = text;
  KeepPolicy keep;
  if (number.ends_with("-wall")) {
    keep.unit = KeepPolicy::Unit::wall_time;
    number.resize(number.size() - 5);
  }
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000}, {"h", 3'600'000'000'000}};
  for (const auto& [unit, ns] : kUnits) {
    if (!number.ends_with(unit)) continue;
    number.resize(number.size() - unit.size());
    const std::uint64_t value = parse_number(number, "--keep");
    if (value == 0 || value > 1'000'000'000'000 / (ns / 1'000'000)) {
      throw Error(ErrorCode::usage, "--keep: \"" + text + "\" is out of range");
    }
    keep.amount = value * ns;
    return keep;
  }
  if (keep.unit == KeepPolicy::Unit::wall_time) {
    throw Error(ErrorCode::usage, "--keep: \"" + text + "\" has no unit of time (ms, s, min, h)");
  }
  keep.unit = KeepPolicy::Unit::bytes;
  keep.amount = parse_size(number, "--keep");
  if (keep.amount < (1ULL << 20)) {
    throw Error(ErrorCode::usage,
                "--keep: \"" + text + "\" is less than 1M; for time, give a unit: 60s");
  }
  return keep;
}

/// The file being written: whole, or as a flight recording.
class Tape {
 public:
  Tape(const RecordOptions& options, const StartCondition& start, const Images& images,
       const WriterOptions& writer_options) {
    const auto embed = [&](RecordingWriter& writer) {
      for (const auto& [role, path] : images.paths) {
        if (options.reference_images) {
          writer.reference_image(role, path, PosixInputFile(path));
        } else {
          writer.embed_image(role, path, PosixInputFile(path));
        }
      }
    };
    if (!options.keep.empty()) {
      const KeepPolicy keep = parse_keep(options.keep);
      flight_.emplace(options.output, start.to_json(), writer_options, keep,
                      TapeCounter{{}, 0, monotonic_ns()}, embed);
      return;
    }
    whole_.emplace(std::make_unique<PosixOutputFile>(options.output, ExistingFile::replace),
                   FileId::random(), start.to_json(), writer_options);
    embed(*whole_);
  }

  void start(std::optional<RunRecorder>& recorder, Machine& machine, InputSource& live,
             MachineObserver* console, const RecorderOptions& options) {
    if (flight_) {
      recorder.emplace(machine, *flight_, live, console, monotonic_ns, options);
    } else {
      recorder.emplace(machine, *whole_, live, console, monotonic_ns, options);
    }
  }
  [[nodiscard]] std::uint64_t disk_bytes() {
    return flight_ ? flight_->disk_bytes() : whole_->file_bytes();
  }
  /// Ends the recording and adds to `report` what the file holds.
  void finish(const std::string& path, const Machine& machine, nlohmann::ordered_json& report) {
    const std::string summary = report.dump();
    if (flight_) {
      flight_->finish(summary, {machine.position(), machine.now().ns, monotonic_ns()});
      const RecordingReader reader(path);
      std::uint64_t inputs = 0;
      for (const InputRange& range : reader.input_ranges()) inputs += range.events;
      report["start"] = reader.start().steps;
      report["checkpoints"] = reader.checkpoints().size();
      report["input_events"] = inputs;
      report["bytes"] = reader.file_bytes();
      return;
    }
    whole_->finish(summary);
    report["checkpoints"] = whole_->checkpoint_count();
    report["input_events"] = whole_->input_count();
    report["bytes"] = whole_->file_bytes();
  }

 private:
  std::optional<FlightRecorder> flight_;
  std::optional<RecordingWriter> whole_;
};

std::string exit_reason(const RunOutcome& outcome, Position limit) {
  if (outcome.ending.reason != EndReason::none) {
    return std::string(end_reason_name(outcome.ending.reason));
  }
  return outcome.position >= limit ? "limit" : "interrupted";
}

nlohmann::ordered_json summary_of(const RunOutcome& outcome, Position limit, double seconds,
                                  const Machine& machine) {
  nlohmann::ordered_json json;
  json["instructions"] = outcome.position.steps;
  json["seconds"] = seconds;
  json["mips"] = seconds > 0 ? static_cast<double>(outcome.position.steps) / seconds / 1e6 : 0.0;
  json["exit"] = {{"reason", exit_reason(outcome, limit)}, {"code", outcome.ending.code}};
  json["digest"] = outcome.digest.hex();
  json["virtual_seconds"] = static_cast<double>(machine.now().ns) / 1e9;
  const CpuCounters& counters = machine.cpu().counters();
  json["undefined_instructions"] = counters.undefined_instructions;
  return json;
}

void report_undefined(const CpuCounters& counters) {
  if (counters.undefined_instructions == 0) return;
  std::string bytes;
  for (const std::uint8_t byte : counters.last_undefined) {
    std::array<char, 4> text{};
    std::snprintf(text.data(), text.size(), " %02x", byte);
    bytes += text.data();
  }
  std::fprintf(stderr,
               "chronovisor: the guest got #UD %llu times; the last at rip 0x%llx, bytes%s\n",
               static_cast<unsigned long long>(counters.undefined_instructions),
               static_cast<unsigned long long>(counters.last_undefined_rip), bytes.c_str());
}

int record(const RecordOptions& options) {
  Images images;
  StartCondition start = start_from(options, images);
  const bool terminal = options.serial == "stdio" && isatty(STDIN_FILENO) != 0;
  const std::string idle_name = options.idle.empty() ? (terminal ? "wait" : "warp") : options.idle;
  if (idle_name != "warp" && idle_name != "wait") {
    throw Error(ErrorCode::usage, "--idle: \"" + idle_name + "\" is neither warp nor wait");
  }
  start.idle = idle_name;
  const Position limit{options.limit.empty() ? kNever : parse_number(options.limit, "--limit")};
  WriterOptions writer_options;
  writer_options.sync = sync_of(options.sync);
  RecorderOptions recorder_options;
  recorder_options.checkpoints = !options.no_checkpoints;
  recorder_options.checkpoint_budget_percent = options.checkpoint_budget;
  if (!options.checkpoint_every.empty()) {
    recorder_options.checkpoint_every_steps =
        std::max<std::uint64_t>(parse_number(options.checkpoint_every, "--checkpoint-every"), 1000);
  }

  const std::unique_ptr<Machine> machine =
      make_machine(start, [&](const std::string& role) { return read_whole(images.path(role)); });
  kvm::select_engine(*machine, options.engine, options.kvm_device);
  // Only the soft engine sees every access; `index` adds the rest from a replay.
  if (machine->engine() != nullptr) recorder_options.index = false;
  ConsoleOutput console(options.serial, options.json ? stderr : stdout);
  if (!options.force) refuse_to_replace_foreign_file(options.output);
  if (!options.force && !options.keep.empty()) {
    refuse_to_replace_foreign_file(options.output + FlightRecorder::kOlderSuffix);
    refuse_to_replace_foreign_file(options.output + FlightRecorder::kNewSuffix);
  }
  Tape tape(options, start, images, writer_options);

  watch_stop_signals();
  std::atomic<bool>& stop = stop_signal();
  std::optional<RawTerminal> raw;
  if (terminal) {
    std::fprintf(stderr, "chronovisor: recording to %s; Ctrl-A x ends, Ctrl-A h helps\n",
                 options.output.c_str());
    raw.emplace(STDIN_FILENO);
  }
  LiveInput live(options.serial == "stdio" ? STDIN_FILENO : -1, terminal,
                 idle_name == "wait" ? IdlePolicy::wait : IdlePolicy::warp, stop);
  recorder_options.cancel = &stop;
  const std::uint64_t began = monotonic_ns();
  RunOutcome outcome;
  RecorderCosts costs;
  {
    std::optional<RunRecorder> recorder;
    tape.start(recorder, *machine, live, &console, recorder_options);
    Progress progress(!console.on_standard_stream() ||
                      (!options.json && isatty(STDOUT_FILENO) == 0));
    outcome = recorder->run(limit, [&](Position here) {
      const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
      progress.show("recording: " + grouped(here.steps) + " steps, " +
                    std::to_string(static_cast<int>(static_cast<double>(here.steps) / 1e6 /
                                                    std::max(seconds, 0.001))) +
                    " million a second, " + size_text(tape.disk_bytes()));
    });
    costs = recorder->costs();
  }
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  raw.reset();
  nlohmann::ordered_json summary = summary_of(outcome, limit, seconds, *machine);
  summary["checkpoint_seconds"] = static_cast<double>(costs.checkpoint_ns) / 1e9;
  tape.finish(options.output, *machine, summary);
  summary["file"] = options.output;
  console.flush();

  report_undefined(machine->cpu().counters());
  const std::string reason = exit_reason(outcome, limit);
  if (options.json) {
    std::printf("%s\n", summary.dump(2).c_str());
  } else {
    std::fprintf(
        stderr,
        "chronovisor: %s: %s steps in %.1f s (%.0f million a second), ended by %s%s; %s, "
        "digest %s\n",
        options.output.c_str(), grouped(outcome.position.steps).c_str(), seconds,
        static_cast<double>(outcome.position.steps) / std::max(seconds, 1e-9) / 1e6, reason.c_str(),
        outcome.ending.reason == EndReason::debug_exit
            ? (" with code " + std::to_string(outcome.ending.code)).c_str()
            : "",
        size_text(summary["bytes"].get<std::uint64_t>()).c_str(), outcome.digest.hex().c_str());
  }
  const bool failed = outcome.ending.reason == EndReason::triple_fault ||
                      (outcome.ending.reason == EndReason::debug_exit && outcome.ending.code != 0);
  return failed ? kGuestFailed : kDone;
}

}  // namespace

void add_record(CLI::App& app, Action& action) {
  auto options = std::make_shared<RecordOptions>();
  CLI::App* command = app.add_subcommand("record", "Run a guest and record it");
  command->add_option("-o,--output", options->output, "The recording to write")->required();
  command->add_flag("-f,--force", options->force,
                    "Replace the output file even if it is not a recording");
  command->add_option("--kernel", options->kernel, "Linux bzImage, or ELF vmlinux with a PVH note");
  command->add_option("--initrd", options->initrd, "Initial RAM disk for --kernel");
  command->add_option("--append", options->append, "Kernel command line");
  command->add_option("--multiboot", options->multiboot, "Multiboot 1 kernel");
  command->add_option("--module", options->modules, "FILE[,ARGUMENTS] for --multiboot; repeatable")
      ->allow_extra_args(false);
  command->add_option("--flat", options->flat, "BIN[@ADDRESS], entered in real mode (0x7c00)");
  command->add_option("--memory", options->memory, "Guest memory (256M)");
  command->add_option("--engine", options->engine,
                      "What executes: soft, or kvm by single steps (soft)");
  command->add_option(
      "--idle", options->idle,
      "warp: jump to the next timer; wait: follow the clock (default on a terminal)");
  command->add_option("--serial", options->serial, "stdio, none or file:PATH (output only)");
  command->add_option("--limit", options->limit, "Stop at this position");
  command->add_option("--checkpoint-every", options->checkpoint_every,
                      "Steps between checkpoints (67108864)");
  command
      ->add_option("--checkpoint-budget", options->checkpoint_budget,
                   "Percent of the run's time that checkpoints may take (4; 0: no limit)")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--keep", options->keep,
                      "Flight recorder: keep only the last 60s (virtual time), 60s-wall, or 500M");
  command->add_flag("--no-checkpoints", options->no_checkpoints, "Digests only");
  command->add_flag("--reference-images", options->reference_images,
                    "Refer to kernel and images by path and hash instead of embedding them");
  command->add_option("--sync", options->sync,
                      "When data is forced to disk: none, interval, or output");
  command->add_option("--rtc", options->rtc, "Unix time the RTC starts from, or now (2025-01-01)");
  command->add_option("--seed", options->seed,
                      "Entropy the guest draws from: a number, or random (0)");
  command->add_flag("--json", options->json, "Report the outcome as one JSON object on stdout");
  command->add_option("--kvm-device", options->kvm_device, "Where the host's KVM is")->group("");
  command->callback([options, &action] { action = [options] { return record(*options); }; });
}

}  // namespace chronovisor::cli
