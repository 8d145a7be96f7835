// compare: runs guests on two engines in lock step and stops at the first
// difference between them.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/multiboot_words.h"
#include "cli/parser.h"
#include "host/host.h"
#include "inspect/disassembly.h"
#include "recorder/format/file.h"
#include "recorder/format/records.h"
#include "recorder/format/start_condition.h"
#include "vmm/engine/kvm/kvm_engine.h"
#include "vmm/engine/kvm/lock_step.h"

namespace chronovisor::cli {
namespace {

struct CompareOptions {
  std::string kvm_device = kvm::kDevicePath;
  std::string engines = "soft,kvm";
  std::vector<std::string> guests;
  std::string kind = "auto";
  std::string initrd;
  std::string append;
  FirstWord first_word = FirstWord::name;
  std::vector<std::string> modules;
  std::string memory = "64M";
  std::string limit = "20000000";
  bool json = false;
};

Bytes read_guest(const std::string& path) { return read_whole_file(path, kMostImageBytes); }

/// A Multiboot header lies in the first 8 KiB; a bzImage has "HdrS" at 0x202.
BootKind kind_of(const std::string& name, const Bytes& image) {
  if (name == "multiboot") return BootKind::multiboot;
  if (name == "flat") return BootKind::flat;
  if (name == "linux") return BootKind::linux_kernel;
  if (name != "auto")
    throw Error(ErrorCode::usage,
                "--kind: \"" + name + "\" is none of auto, multiboot, flat, linux");
  if (image.size() > 0x206 && std::equal(image.begin() + 0x202, image.begin() + 0x206, "HdrS")) {
    return BootKind::linux_kernel;
  }
  static constexpr std::array<std::uint8_t, 4> kMagic{0x02, 0xb0, 0xad, 0x1b};
  const auto end =
      image.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(image.size(), 8192));
  return std::search(image.begin(), end, kMagic.begin(), kMagic.end()) != end ? BootKind::multiboot
                                                                              : BootKind::flat;
}

std::pair<std::string, std::string> engines_of(const std::string& text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string::npos)
    throw Error(ErrorCode::usage, "--engines: two names, as in soft,kvm");
  return {text.substr(0, comma), text.substr(comma + 1)};
}

nlohmann::ordered_json to_json(const std::string& guest, const kvm::LockStepOutcome& outcome) {
  nlohmann::ordered_json json;
  json["guest"] = guest;
  json["compared"] = outcome.events;
  json["position"] = outcome.end.position.steps;
  json["end"] = std::string(end_reason_name(outcome.ending.reason));
  json["code"] = outcome.ending.code;
  json["equal"] = !outcome.difference.has_value();
  if (outcome.difference) {
    const kvm::StepDifference& d = *outcome.difference;
    json["difference"] = {
        {"position", d.before.position.steps},
        {"deliveries", d.before.deliveries},
        {"rip", d.rip},
        {"instruction", disassemble({d.rip, d.linear_rip, d.code_bits, d.instruction})}};
    for (const kvm::FieldValue& f : d.fields)
      json["difference"]["fields"][f.name] = {f.left, f.right};
  }
  return json;
}

void print_difference(const kvm::StepDifference& d,
                      const std::pair<std::string, std::string>& engines) {
  std::printf("  at position %s (%u deliveries), rip 0x%llx: %s\n",
              grouped(d.before.position.steps).c_str(), d.before.deliveries,
              static_cast<unsigned long long>(d.rip),
              disassemble({d.rip, d.linear_rip, d.code_bits, d.instruction}).c_str());
  std::printf("  %-24s %-20s %s\n", "", engines.first.c_str(), engines.second.c_str());
  for (const kvm::FieldValue& f : d.fields) {
    std::printf("  %-24s %-20s %s\n", f.name.c_str(), f.left.c_str(), f.right.c_str());
  }
}

kvm::LockStepOutcome compare_guest(const CompareOptions& options, const std::string& path,
                                   const std::pair<std::string, std::string>& engines) {
  StartCondition start;
  const Bytes image = read_guest(path);
  start.kind = kind_of(options.kind, image);
  start.kernel_name = path;
  start.initrd_name = options.initrd;
  start.command_line = start.kind == BootKind::multiboot
                           ? multiboot_line(options.first_word, path, options.append)
                           : options.append;
  for (const std::string& text : options.modules) {
    start.modules.push_back(module_of(text, start.kind, options.first_word));
  }
  start.machine.memory_bytes = parse_size(options.memory, "--memory");
  start.machine.rtc_start_unix_seconds = 1'735'689'600;
  const ImageProvider images = [&](const std::string& role) {
    if (role == kKernelRole) return image;
    for (std::size_t n = 0; n < start.modules.size(); ++n) {
      if (role == module_role(n)) return read_guest(start.modules[n].name);
    }
    return read_guest(options.initrd);
  };
  const std::unique_ptr<Machine> left = make_machine(start, images),
                                 right = make_machine(start, images);
  kvm::select_engine(*left, engines.first, options.kvm_device);
  kvm::select_engine(*right, engines.second, options.kvm_device);
  const Position limit{parse_number(options.limit, "--limit")};
  Progress progress(!options.json);
  return kvm::run_in_lock_step(*left, *right, limit, [&](Position here) {
    progress.show("comparing: " + grouped(here.steps) + " steps");
    return !stop_signal();
  });
}

int compare(const CompareOptions& options) {
  const auto engines = engines_of(options.engines);
  watch_stop_signals();
  bool equal = true;
  bool interrupted = false;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const std::string& guest : options.guests) {
    if (interrupted) break;
    const std::uint64_t began = monotonic_ns();
    const kvm::LockStepOutcome outcome = compare_guest(options, guest, engines);
    const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
    equal = equal && !outcome.difference;
    // What was not looked at is not equal.
    interrupted = stop_signal() && !outcome.difference && outcome.ending.reason == EndReason::none;
    all.push_back(to_json(guest, outcome));
    if (interrupted) {
      all.back()["equal"] = nullptr;
      all.back()["end"] = "interrupted";
    }
    if (options.json) continue;
    std::printf("%s: %s: %s steps and deliveries compared in %.1f s, ended by %s\n", guest.c_str(),
                outcome.difference ? "DIFFERENT"
                : interrupted      ? "equal so far"
                                   : "equal",
                grouped(outcome.events).c_str(), seconds,
                outcome.difference ? "the difference"
                : interrupted      ? "an interrupt"
                : outcome.ending.reason == EndReason::none
                    ? "the limit"
                    : std::string(end_reason_name(outcome.ending.reason)).c_str());
    if (outcome.difference) print_difference(*outcome.difference, engines);
  }
  if (options.json) std::printf("%s\n", all.dump(2).c_str());
  if (!equal) return static_cast<int>(ErrorCode::divergence);
  return interrupted ? static_cast<int>(ErrorCode::host) : kDone;
}

}  // namespace

void add_compare(Command& app, Action& action) {
  auto options = std::make_shared<CompareOptions>();
  Command command = app.add_subcommand(
      "compare", "Run guests on two engines in lock step, to the first difference");
  command.add_option("guest", options->guests, "Kernel images: Multiboot, bzImage or flat")
      .type_name("FILE")
      .required();
  command.add_option("--engines", options->engines, "The two engines (soft,kvm)")
      .type_name("soft,kvm|soft,soft|kvm,soft|kvm,kvm");
  command.add_option("--kind", options->kind, "What the images are (auto)")
      .type_name("auto|multiboot|flat|linux");
  command.add_option("--initrd", options->initrd, "Initial RAM disk for Linux kernels")
      .type_name("FILE");
  command.add_option("--append", options->append, "Kernel command line").type_name("ARGUMENTS");
  command
      .add_option("--module", options->modules,
                  "FILE[,ARGUMENTS] for Multiboot or PVH kernels, as for record; repeatable")
      .type_name("FILE|FILE,ARGUMENTS")
      .allow_extra_args(false);
  add_first_word_option(command, options->first_word);
  command.add_option("--memory", options->memory, "Guest memory (64M)").type_name("SIZE");
  command.add_option("--limit", options->limit, "Stop at this position (20,000,000)")
      .type_name("POSITION");
  command.add_flag("--json", options->json, "Report as one JSON array on stdout");
  command.add_option("--kvm-device", options->kvm_device, "Where the host's KVM is").group("");
  command.callback([options, &action] { action = [options] { return compare(*options); }; });
}

}  // namespace chronovisor::cli
