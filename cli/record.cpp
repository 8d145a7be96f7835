#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/disk_options.h"
#include "cli/firmware_files.h"
#include "cli/live_run.h"
#include "cli/multiboot_words.h"
#include "cli/network_options.h"
#include "cli/parser.h"
#include "cli/run.h"
#include "cli/scratch_folder.h"
#include "host/host.h"
#include "recorder/format/file.h"
#include "recorder/format/start_condition.h"
#include "vmm/model/model.h"

namespace chronovisor::cli {
namespace {

struct RecordOptions {
  RunOptions run;
  DiskOptions disks;
  NetOptions nets;
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string multiboot;
  FirstWord first_word = FirstWord::name;
  std::vector<std::string> modules;
  std::string flat;
  std::string machine;
  std::string bios;
  std::string firmware = "seabios";
  std::vector<std::string> flash;
  std::string firmware_dir;
  std::string boot_order;
  std::string memory = "256M";
  std::string rtc;
  std::string seed;
  std::vector<std::string> devices;
  bool reference_images = false;
  bool no_reboot = false;
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

Bytes read_whole(const std::string& path) { return read_whole_file(path, kMostImageBytes); }

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

/// Of a run whose recording nobody wants, so much is on the disk, for `debug` of what happens.
constexpr const char* kKeptOfARun = "256M";

bool wants_drives(const RecordOptions& options) {
  return !options.disks.disks.empty() || !options.disks.cdroms.empty() ||
         !options.disks.floppies.empty();
}

/// Those that were asked for, and those whose output has a place.
ExtraDevices wanted_extras(const RecordOptions& options) {
  ExtraDevices extras;
  for (const std::string& name : options.devices) {
    const auto device = find_extra_device(name);
    if (!device) {
      std::string all;
      for (const ExtraDevice known : kExtraDevices) {
        all += (all.empty() ? "" : ", ") + std::string(extra_device_name(known));
      }
      throw Error(ErrorCode::usage, "--device " + name + ": is none of " + all);
    }
    extras.add(*device);
  }
  if (options.run.console != "none") extras.add(ExtraDevice::console);
  if (options.run.parallel != "none") extras.add(ExtraDevice::parallel);
  // What is clicked on a screen has a place there.
  if (!options.run.display.place.empty()) extras.add(ExtraDevice::tablet);
  return extras;
}

bool wants_cards(const RecordOptions& options) { return !options.nets.networks.empty(); }

/// Firmware, or how it starts, is asked for.
bool wants_firmware(const RecordOptions& options) {
  return !options.bios.empty() || !options.boot_order.empty() || !options.firmware_dir.empty() ||
         !options.flash.empty() || options.firmware != RecordOptions{}.firmware;
}

/// Throws Error{usage} unless each letter is one of a, c, d and n, and there once.
std::string boot_order_of(std::string letters) {
  constexpr std::string_view kAsQemuHasIt = "order=";
  if (letters.starts_with(kAsQemuHasIt)) letters.erase(0, kAsQemuHasIt.size());
  std::set<char> seen;
  for (const char letter : letters) {
    if (std::string_view("acdn").find(letter) == std::string_view::npos) {
      throw Error(ErrorCode::usage, "--boot " + letters +
                                        ": what there is to start from is a (a "
                                        "floppy), c (a disk), d (a CD) and n (the network)");
    }
    if (!seen.insert(letter).second) {
      throw Error(ErrorCode::usage, "--boot " + letters + ": a letter stands in it twice");
    }
  }
  return letters;
}

/// Adds the option ROMs that firmware starts from the network by.
void start_from_network(const RecordOptions& options, StartCondition& start, Images& images) {
  if (start.machine.cards.empty()) {
    throw Error(ErrorCode::usage, "--boot " + options.boot_order +
                                      ": to start from the network takes a card (--net)");
  }
  for (const CardConfig& card : start.machine.cards) {
    const std::string path = require_firmware(network_boot_file(card.model), options.firmware_dir);
    const bool there = std::any_of(start.modules.begin(), start.modules.end(),
                                   [&](const StartModule& rom) { return rom.name == path; });
    if (there) continue;
    images.paths.emplace_back(module_role(start.modules.size()), path);
    start.modules.push_back({path, ""});
  }
}

/// A firmware's image, and what its flash begins with; the latter may be empty.
std::pair<std::string, std::string> firmware_of(const RecordOptions& options) {
  const bool ovmf = options.firmware == "ovmf";
  if (static_cast<int>(!options.bios.empty()) + static_cast<int>(ovmf) +
          static_cast<int>(!options.flash.empty()) >
      1) {
    throw Error(ErrorCode::usage, "give one of --bios, --pflash and --firmware ovmf");
  }
  if (options.flash.size() > 2) {
    throw Error(ErrorCode::usage, "--pflash is given once for the firmware and once for variables");
  }
  if (ovmf) {
    return {require_firmware(ovmf_file(), options.firmware_dir),
            require_firmware(ovmf_variables_file(), options.firmware_dir)};
  }
  if (options.bios.empty() && options.flash.empty()) {
    return {require_firmware(seabios_file(), options.firmware_dir), {}};
  }
  const auto place = [&](const std::string& name) {
    if (std::filesystem::exists(name)) return name;
    // A name alone is looked for where firmware is.
    const std::string found = find_firmware(name, options.firmware_dir);
    return found.empty() ? name : found;
  };
  if (!options.bios.empty()) return {place(options.bios), {}};
  return {place(options.flash[0]), options.flash.size() == 2 ? place(options.flash[1]) : ""};
}

/// An image begins with the header of a UEFI firmware volume.
/// Source: UEFI Platform Initialization Specification, vol. 3, "Firmware Volume Header".
bool is_uefi(const std::string& file) {
  constexpr std::size_t kSignatureAt = 40;
  constexpr std::string_view kSignature = "_FVH";
  Bytes bytes(kSignature.size());
  const std::size_t read = PosixInputFile(file).read(kSignatureAt, bytes);
  return read == bytes.size() && std::equal(bytes.begin(), bytes.end(), kSignature.begin());
}

/// The video BIOS of the machine's screen; empty: it has none.
void add_video_bios(std::string file, StartCondition& start, Images& images) {
  start.video_bios_name = std::move(file);
  if (start.video_bios_name.empty()) return;
  images.paths.emplace_back(kVideoBiosRole, start.video_bios_name);
}

void start_from_firmware(const RecordOptions& options, StartCondition& start, Images& images) {
  start.kind = BootKind::firmware;
  std::tie(start.firmware_name, start.variables_name) = firmware_of(options);
  images.paths.emplace_back(kFirmwareRole, start.firmware_name);
  if (!start.variables_name.empty()) {
    images.paths.emplace_back(kVariablesRole, start.variables_name);
    start.machine.flash = {PosixInputFile(start.variables_name).size(),
                           PosixInputFile(start.firmware_name).size()};
    if (start.machine.flash.size_bytes == 0) {
      throw Error(ErrorCode::bad_input, start.variables_name + ": is empty");
    }
  }
  if (is_uefi(start.firmware_name)) start.machine.power_base = kUefiPowerBase;
  const bool seabios =
      options.bios.empty() && start.variables_name.empty() && options.flash.empty();
  add_video_bios(seabios ? require_firmware(video_bios_file(), options.firmware_dir)
                         : find_firmware(video_bios_file().name, options.firmware_dir),
                 start, images);
  if (!options.boot_order.empty()) start.boot_order = boot_order_of(options.boot_order);
  if (start.boot_order.find('n') != std::string::npos) start_from_network(options, start, images);
}

/// Which model, and whether it starts from firmware.
void choose_machine(const RecordOptions& options, bool has_kernel, StartCondition& start,
                    Images& images) {
  const std::string pc1_name = pc1().name;
  if (!has_kernel && (wants_firmware(options) || wants_drives(options) || wants_cards(options) ||
                      !options.devices.empty() || !options.machine.empty())) {
    start.machine.model = options.machine.empty() ? pc2().name : options.machine;
    if (start.machine.model == pc1_name) {
      throw Error(
          ErrorCode::usage,
          "--machine " + pc1_name +
              " does not start from firmware: give one of --kernel, --multiboot and --flat");
    }
    start_from_firmware(options, start, images);
    return;
  }
  if (!has_kernel) {
    throw Error(ErrorCode::usage,
                "give one of --kernel, --multiboot, --flat, --disk, --cdrom, --floppy, --bios and "
                "--pflash, or "
                "--machine pc-2");
  }
  if (wants_firmware(options)) {
    throw Error(ErrorCode::usage,
                "--bios, --pflash, --firmware, --firmware-dir and --boot are for a machine that "
                "starts from firmware; "
                "leave --kernel, --multiboot and --flat out");
  }
  // Disks and cards are a PC's; without them the smallest machine is the quickest.
  start.machine.model = !options.machine.empty() ? options.machine
                        : wants_drives(options) || wants_cards(options) || !options.devices.empty()
                            ? pc2().name
                            : pc1_name;
  // Its font is what characters are drawn by.
  if (start.machine.model != pc1_name) {
    add_video_bios(find_firmware(video_bios_file().name, ""), start, images);
  }
}

/// What the guest is told is kept as text: other bytes would come back as others.
void require_utf8(const StartCondition& start) {
  const auto require = [](const std::string& text, const std::string& what) {
    if (is_utf8(text)) return;
    throw Error(ErrorCode::usage, what + " has bytes that are not UTF-8; a recording keeps text");
  };
  require(start.command_line, start.kind == BootKind::multiboot
                                  ? "the command line, with the name of the --multiboot file,"
                                  : "--append");
  for (const StartModule& module : start.modules) {
    require(module.name, "the name of a --module");
    require(module.arguments, "--module " + module.name + ": what it is told");
  }
}

StartCondition start_from(const RecordOptions& options, const Networks& networks, Images& images) {
  StartCondition start;
  const int kinds = static_cast<int>(!options.kernel.empty()) +
                    static_cast<int>(!options.multiboot.empty()) +
                    static_cast<int>(!options.flat.empty());
  if (kinds > 1) {
    throw Error(ErrorCode::usage, "give one of --kernel, --multiboot and --flat");
  }
  start.machine.cards = networks.cards;
  start.machine.extras = wanted_extras(options);
  choose_machine(options, kinds == 1, start, images);
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
  } else if (!options.flat.empty()) {
    start.kind = BootKind::flat;
    parse_flat(options.flat, start, images);
  }
  if (!options.initrd.empty() && start.kind != BootKind::linux_kernel) {
    throw Error(ErrorCode::usage, "--initrd goes with --kernel; --multiboot takes --module");
  }
  if (!options.modules.empty() &&
      (start.kind == BootKind::flat || start.kind == BootKind::firmware)) {
    throw Error(ErrorCode::usage, "--module goes with --multiboot, or --kernel for a PVH kernel");
  }
  for (const std::string& text : options.modules) {
    StartModule module = module_of(text, start.kind, options.first_word);
    images.paths.emplace_back(module_role(start.modules.size()), module.name);
    start.modules.push_back(std::move(module));
  }
  if (!options.append.empty() &&
      (start.kind == BootKind::flat || start.kind == BootKind::firmware)) {
    throw Error(ErrorCode::usage, "--append goes with --kernel or --multiboot");
  }
  start.machine.restarts = start.kind == BootKind::firmware && !options.no_reboot;
  start.machine.memory_bytes = parse_size(options.memory, "--memory");
  start.machine.rtc_start_unix_seconds =
      options.rtc.empty()    ? 1'735'689'600
      : options.rtc == "now" ? unix_seconds()
                             : static_cast<std::int64_t>(parse_number(options.rtc, "--rtc"));
  start.machine.entropy_seed = options.seed.empty()       ? 0
                               : options.seed == "random" ? host_entropy()
                                                          : parse_number(options.seed, "--seed");
  require_utf8(start);
  start.host = host_description();
  start.created_utc = utc_text(unix_seconds());
  return start;
}

int record(const RecordOptions& options) {
  Images images;
  const Networks networks = parse_networks(options.nets);
  StartCondition start = start_from(options, networks, images);
  const Drives drives = open_drives(options.disks);
  start.machine.drives = drives.drives;
  start.machine.media = drives.media;
  start.drive_images = drives.images;
  std::vector<std::string> inputs = drives.files();
  for (const auto& [role, path] : images.paths) inputs.push_back(path);
  for (const NetworkOptions& network : networks.networks) {
    if (network.kind == NetworkOptions::Kind::pcap) inputs.push_back(network.place);
  }
  RunPlan plan = plan_run(options.run, inputs, networks.networks);
  plan.recorder.keep_blocks = !options.reference_images;
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
    if (options.reference_images) reference_drives(drives, writer);
  });
}

/// As record(), but for what becomes of the recording.
int run(RecordOptions options) {
  if (!options.run.output.empty()) return record(options);
  if (!options.run.part_size.empty()) {
    throw Error(ErrorCode::usage, "--part-size: without -o no recording is kept");
  }
  const ScratchFolder folder;
  options.run.is_kept = false;
  options.run.output = folder.file("run.cvr");
  if (options.run.keep.empty()) options.run.keep = kKeptOfARun;
  return record(options);
}

void add_options(Command& command, RecordOptions& options) {
  command.add_option("--kernel", options.kernel, "Linux bzImage, or ELF vmlinux with a PVH note")
      .type_name("FILE");
  command.add_option("--initrd", options.initrd, "Initial RAM disk for --kernel").type_name("FILE");
  command.add_option("--append", options.append, "Kernel command line").type_name("ARGUMENTS");
  command
      .add_option("--multiboot", options.multiboot,
                  "Multiboot 1 kernel. Its line is the file's name, then what --append gives, "
                  "as with QEMU and GRUB")
      .type_name("FILE");
  command
      .add_option("--module", options.modules,
                  "FILE[,ARGUMENTS] for --multiboot (its string is the file's name, then "
                  "ARGUMENTS) or for an ELF --kernel with a PVH entry (ARGUMENTS alone); "
                  "repeatable")
      .type_name("FILE|FILE,ARGUMENTS")
      .allow_extra_args(false);
  add_first_word_option(command, options.first_word);
  command.add_option("--flat", options.flat, "A program entered in real mode (at 0x7c00)")
      .type_name("FILE|FILE@ADDRESS");
  command
      .add_option("--machine", options.machine,
                  "The model: pc-1 has no screen and starts a kernel; pc-2 has one, and starts a "
                  "kernel or from firmware (pc-1 with --kernel, --multiboot and --flat, no "
                  "drives and no network cards; else pc-2)")
      .type_name("pc-1|pc-2")
      .one_of({"pc-1", "pc-2"});
  command
      .add_option("--bios", options.bios,
                  "Start from this firmware: a ROM of 64 KiB to 16 MiB that ends at 4 GiB "
                  "(SeaBIOS)")
      .type_name("FILE");
  command
      .add_option("--firmware", options.firmware,
                  "Which firmware to look for: SeaBIOS, or OVMF, which is UEFI and keeps its "
                  "variables in flash memory, part of the machine (seabios)")
      .type_name("seabios|ovmf")
      .one_of({"seabios", "ovmf"});
  command
      .add_option("--pflash", options.flash,
                  "Start from this firmware in flash memory; given once more, what the flash "
                  "for its variables begins with. The files are never written")
      .type_name("FILE")
      .allow_extra_args(false);
  command
      .add_option("--firmware-dir", options.firmware_dir,
                  "Where SeaBIOS, its video BIOS and OVMF are (where packages put them)")
      .type_name("DIR");
  command
      .add_option(
          "--boot", options.boot_order,
          "What firmware starts from, in this order: a floppy, c disk, d CD, n network by iPXE "
          "(cad)")
      .type_name("LETTERS");
  command.add_flag("--no-reboot", options.no_reboot,
                   "A reset ends the run, as it does without firmware, instead of starting the "
                   "firmware again");
  command.add_option("--memory", options.memory, "Guest memory (256M)").type_name("SIZE");
  command.add_flag("--reference-images", options.reference_images,
                   "Refer to kernel, disks and other images by path and hash instead of "
                   "embedding what is used of them");
  command.add_option("--rtc", options.rtc, "Unix time the RTC starts from (2025-01-01)")
      .type_name("SECONDS|now");
  command.add_option("--seed", options.seed, "Entropy the guest draws from (0)")
      .type_name("NUMBER|random");
  command
      .add_option("--device", options.devices,
                  "What a machine has besides: a tablet, which points at a place of the screen "
                  "(with --display it is there); rng, virtio's, from the seed; console, virtio's; "
                  "hpet, a timer; parallel, a printer's port. Repeatable")
      .type_name("tablet|rng|console|hpet|parallel")
      .allow_extra_args(false);
  add_disk_options(command, options.disks);
  add_net_options(command, options.nets);
  add_run_options(command, options.run);
}

}  // namespace

void add_record(Command& app, Action& action) {
  auto options = std::make_shared<RecordOptions>();
  Command command = app.add_subcommand("record", "Run a guest and record it");
  add_options(command, *options);
  command.callback([options, &action] { action = [options] { return record(*options); }; });
}

void add_run(Command& app, Action& action) {
  auto options = std::make_shared<RecordOptions>();
  Command command = app.add_subcommand(
      "run", "Run a guest, with a backup behind it where --replicate says, and keep no recording");
  add_options(command, *options);
  command.get_option("--output")
      .required(false)
      .description("Keep the recording here, as `record` does");
  command.get_option("--keep").description(
      "How much of the run there is until it ends, beside what a backup has (256M)");
  command.callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace chronovisor::cli
