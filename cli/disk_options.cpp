#include "cli/disk_options.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "cli/parser.h"
#include "recorder/format/file.h"
#include "recorder/format/recorded_media.h"

namespace chronovisor::cli {
namespace {

constexpr std::string_view kDiskValues =
    "FILE|FILE,readonly=on|FILE,format=raw|FILE,if=ide|FILE,if=ahci|FILE,if=virtio";
constexpr std::string_view kFloppyValues = "FILE|FILE,readonly=on|FILE,format=raw";
constexpr std::string_view kDiscValues = "FILE|FILE,format=raw";

/// An image as it is given: FILE[,KEY=VALUE]...
struct Given {
  std::string file;
  std::map<std::string, std::string> keys;
};

Given parse(const std::string& text, const std::string& option,
            std::initializer_list<std::string_view> known) {
  Given given;
  given.file = text;
  // From the end, so that a file's name may have commas; ",," is one too, as with QEMU.
  while (true) {
    const std::size_t comma = given.file.rfind(',');
    const std::size_t equals = given.file.find('=', comma == std::string::npos ? 0 : comma);
    if (comma == std::string::npos || equals == std::string::npos) break;
    if (comma > 0 && given.file[comma - 1] == ',') break;
    const std::string key = given.file.substr(comma + 1, equals - comma - 1);
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      std::string all;
      for (const std::string_view name : known)
        all += (all.empty() ? "" : ", ") + std::string(name);
      throw Error(ErrorCode::usage, option + " " + text + ": \"" + key + "\" is none of " + all);
    }
    given.keys.try_emplace(key, given.file.substr(equals + 1));
    given.file.resize(comma);
  }
  for (std::size_t at = 0; (at = given.file.find(",,", at)) != std::string::npos; ++at) {
    given.file.erase(at, 1);
  }
  if (given.file.starts_with("file=")) given.file.erase(0, 5);
  if (given.file.empty()) throw Error(ErrorCode::usage, option + ": a file is missing");
  return given;
}

std::string value_of(const Given& given, const std::string& key, const std::string& option,
                     std::initializer_list<std::string_view> values) {
  const auto found = given.keys.find(key);
  if (found == given.keys.end()) return std::string(*values.begin());
  if (std::find(values.begin(), values.end(), found->second) == values.end()) {
    std::string all;
    for (const std::string_view name : values) all += (all.empty() ? "" : ", ") + std::string(name);
    throw Error(ErrorCode::usage,
                option + ": " + key + " \"" + found->second + "\" is none of " + all);
  }
  return found->second;
}

std::string format_of(const Given& given) {
  const auto said = given.keys.find("format");
  if (said != given.keys.end()) return said->second;
  // The guest never writes the image, so that it cannot fake another format.
  return is_nbd_address(given.file) ? "nbd" : probe_disk_format(given.file);
}

void add_drive(const Given& given, DriveConfig drive, Drives& drives) {
  const std::string format = format_of(given);
  auto image = open_disk_image(given.file, format);
  drive.size_bytes = image->size_bytes();
  if (drive.size_bytes == 0) throw Error(ErrorCode::bad_input, given.file + ": is empty");
  drives.media->add(std::move(image), given.file);
  drives.drives.push_back(drive);
  // Found again from wherever the recording is replayed.
  const std::string file = is_nbd_address(given.file)
                               ? given.file
                               : std::filesystem::absolute(given.file).lexically_normal().string();
  drives.images.push_back({file, format});
}

}  // namespace

std::vector<std::string> Drives::files() const {
  std::vector<std::string> files;
  for (const StartImage& image : images) {
    if (!image.file.empty() && !is_nbd_address(image.file)) files.push_back(image.file);
  }
  return files;
}

Drives open_drives(const DiskOptions& options) {
  Drives result;
  result.media = std::make_shared<HostMedia>();
  result.media->on_trouble([](const std::string& message) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", message.c_str());
  });
  for (const std::string& text : options.disks) {
    const Given given = parse(text, "--disk", {"format", "readonly", "if"});
    DriveConfig drive;
    const std::string interface = value_of(given, "if", "--disk", {"ide", "ahci", "virtio"});
    drive.interface = interface == "ahci"     ? DriveConfig::Interface::ahci
                      : interface == "virtio" ? DriveConfig::Interface::virtio
                                              : DriveConfig::Interface::ide;
    drive.read_only = value_of(given, "readonly", "--disk", {"off", "on"}) == "on";
    add_drive(given, drive, result);
  }
  for (const std::string& text : options.floppies) {
    const Given given = parse(text, "--floppy", {"format", "readonly"});
    DriveConfig drive;
    drive.interface = DriveConfig::Interface::floppy;
    drive.read_only = value_of(given, "readonly", "--floppy", {"off", "on"}) == "on";
    add_drive(given, drive, result);
  }
  for (const std::string& text : options.cdroms) {
    DriveConfig drive;
    drive.kind = DriveConfig::Kind::cdrom;
    drive.read_only = true;
    if (text == "none") {
      result.media->begin_at(static_cast<std::uint32_t>(result.drives.size() + 1));
      result.drives.push_back(drive);
      result.images.emplace_back();
      continue;
    }
    add_drive(parse(text, "--cdrom", {"format"}), drive, result);
  }
  return result;
}

void reference_drives(const Drives& drives, RecordingWriter& writer) {
  for (std::size_t n = 0; n < drives.images.size(); ++n) {
    const StartImage& image = drives.images[n];
    if (image.file.empty()) continue;
    if (image.format != "raw") {
      throw Error(ErrorCode::usage, "--reference-images: " + image.file + " has the format " +
                                        image.format +
                                        "; only raw images can be referred to. Leave the option "
                                        "out, and the recording keeps what is read");
    }
    writer.reference_image(medium_role(static_cast<std::uint32_t>(n)), image.file,
                           PosixInputFile(image.file));
  }
}

void add_disk_options(Command& command, DiskOptions& options) {
  command
      .add_option("--disk", options.disks,
                  "A disk image; it is never written, what the guest writes is part of the "
                  "machine. readonly=on|off, if=ide|ahci|virtio (ide), "
                  "format=raw|qcow2|vmdk|vdi|vhdx (by its first bytes); or nbd:unix:SOCKET. "
                  "Repeatable")
      .type_name(std::string(kDiskValues))
      .allow_extra_args(false);
  command
      .add_option("--floppy", options.floppies,
                  "A floppy disk of up to 2880 KiB; like --disk it is never written. Twice at most")
      .type_name(std::string(kFloppyValues))
      .allow_extra_args(false);
  command
      .add_option("--cdrom", options.cdroms,
                  "A disc in a CD-ROM drive; none: an empty drive. Repeatable")
      .type_name(std::string(kDiscValues) + "|none")
      .allow_extra_args(false);
}

}  // namespace chronovisor::cli
