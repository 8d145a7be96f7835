#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/live_run.h"
#include "host/host.h"
#include "recorder/format/file.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::cli {
namespace {

/// What comes first on a multiboot line, before the words given.
enum class FirstWord : std::uint8_t { name, path, none };

struct RecordOptions {
  RunOptions run;
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string multiboot;
  FirstWord first_word = FirstWord::name;
  std::vector<std::string> modules;
  std::string flat;
  std::string memory = "256M";
  std::string rtc;
  std::string seed;
  bool reference_images = false;
};

/// FILE[,ARGUMENTS]
StartModule parse_module(const std::string& text) {
  const std::size_t comma = text.find(',');
  return {text.substr(0, comma), comma == std::string::npos ? "" : text.substr(comma + 1)};
}

/// What a multiboot kernel finds on its line, and on those of its modules.
std::string multiboot_line(FirstWord first, const std::string& path, const std::string& words) {
  if (first == FirstWord::none) return words;
  const std::string name =
      first == FirstWord::path ? path : std::filesystem::path(path).filename().string();
  return words.empty() ? name : name + " " + words;
}

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
  start.engine = options.run.engine;
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
    start.command_line = multiboot_line(options.first_word, options.multiboot, options.append);
  } else {
    start.kind = BootKind::flat;
    parse_flat(options.flat, start, images);
  }
  if (!options.initrd.empty() && start.kind != BootKind::linux_kernel) {
    throw Error(ErrorCode::usage, "--initrd goes with --kernel; --multiboot takes --module");
  }
  if (!options.modules.empty() && start.kind == BootKind::flat) {
    throw Error(ErrorCode::usage, "--module goes with --multiboot, or --kernel for a PVH kernel");
  }
  for (const std::string& text : options.modules) {
    StartModule module = parse_module(text);
    images.paths.emplace_back(module_role(start.modules.size()), module.name);
    if (start.kind == BootKind::multiboot) {
      module.arguments = multiboot_line(options.first_word, module.name, module.arguments);
    }
    start.modules.push_back(std::move(module));
  }
  if (!options.append.empty() && start.kind == BootKind::flat) {
    throw Error(ErrorCode::usage, "--append goes with --kernel or --multiboot");
  }
  start.machine.memory_bytes = parse_size(options.memory, "--memory");
  start.machine.rtc_start_unix_seconds =
      options.rtc.empty()    ? 1'735'689'600
      : options.rtc == "now" ? unix_seconds()
                             : static_cast<std::int64_t>(parse_number(options.rtc, "--rtc"));
  start.machine.entropy_seed = options.seed.empty()       ? 0
                               : options.seed == "random" ? host_entropy()
                                                          : parse_number(options.seed, "--seed");
  start.host = host_description();
  start.created_utc = utc_text(unix_seconds());
  return start;
}

int record(const RecordOptions& options) {
  Images images;
  StartCondition start = start_from(options, images);
  std::vector<std::string> inputs;
  for (const auto& [role, path] : images.paths) inputs.push_back(path);
  const RunPlan plan = plan_run(options.run, inputs);
  start.idle = plan.idle;
  const std::unique_ptr<Machine> machine =
      make_machine(start, [&](const std::string& role) { return read_whole(images.path(role)); });
  return run_live(options.run, plan, start, *machine, [&](RecordingWriter& writer) {
    for (const auto& [role, path] : images.paths) {
      if (options.reference_images) {
        writer.reference_image(role, path, PosixInputFile(path));
      } else {
        writer.embed_image(role, path, PosixInputFile(path));
      }
    }
  });
}

}  // namespace

void add_record(CLI::App& app, Action& action) {
  auto options = std::make_shared<RecordOptions>();
  CLI::App* command = app.add_subcommand("record", "Run a guest and record it");
  command->add_option("--kernel", options->kernel, "Linux bzImage, or ELF vmlinux with a PVH note")
      ->type_name("FILE");
  command->add_option("--initrd", options->initrd, "Initial RAM disk for --kernel")
      ->type_name("FILE");
  command->add_option("--append", options->append, "Kernel command line")->type_name("ARGUMENTS");
  command
      ->add_option("--multiboot", options->multiboot,
                   "Multiboot 1 kernel. Its line is the file's name, then what --append gives, "
                   "as with QEMU and GRUB")
      ->type_name("FILE");
  command
      ->add_option("--module", options->modules,
                   "FILE[,ARGUMENTS] for --multiboot (its string is the file's name, then "
                   "ARGUMENTS) or for an ELF --kernel with a PVH entry (ARGUMENTS alone); "
                   "repeatable")
      ->type_name("FILE|FILE,ARGUMENTS")
      ->allow_extra_args(false);
  command
      ->add_option("--multiboot-argv0", options->first_word,
                   "First word of multiboot lines: the file's name, its path as given, or none "
                   "(name)")
      ->type_name("name|path|none")
      ->transform(
          CLI::CheckedTransformer(
              std::map<std::string, FirstWord>{
                  {"name", FirstWord::name}, {"path", FirstWord::path}, {"none", FirstWord::none}},
              CLI::ignore_case)
              .description(""));
  command->add_option("--flat", options->flat, "A program entered in real mode (at 0x7c00)")
      ->type_name("FILE|FILE@ADDRESS");
  command->add_option("--memory", options->memory, "Guest memory (256M)")->type_name("SIZE");
  command->add_flag("--reference-images", options->reference_images,
                    "Refer to kernel and images by path and hash instead of embedding them");
  command->add_option("--rtc", options->rtc, "Unix time the RTC starts from (2025-01-01)")
      ->type_name("SECONDS|now");
  command->add_option("--seed", options->seed, "Entropy the guest draws from (0)")
      ->type_name("NUMBER|random");
  add_run_options(*command, options->run);
  command->callback([options, &action] { action = [options] { return record(*options); }; });
}

}  // namespace chronovisor::cli
