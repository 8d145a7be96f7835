#include "cli/firmware_files.h"

#include <filesystem>

#include "base/error.h"

namespace chronovisor::cli {
namespace {

/// Debian and Ubuntu; Fedora; Arch.
const std::vector<std::string>& usual_folders() {
  static const std::vector<std::string> folders{
      "/usr/share/seabios",   "/usr/share/qemu",     "/usr/share/seavgabios", "/usr/share/OVMF",
      "/usr/share/edk2/ovmf", "/usr/share/edk2/x64", "/usr/lib/ipxe/qemu"};
  return folders;
}

}  // namespace

const FirmwareFile& seabios_file() {
  static const FirmwareFile file{"bios-256k.bin", "seabios", "SeaBIOS"};
  return file;
}

const FirmwareFile& video_bios_file() {
  static const FirmwareFile file{"vgabios-stdvga.bin", "seabios", "SeaBIOS' video BIOS"};
  return file;
}

const FirmwareFile& network_boot_file(CardConfig::Model model) {
  static const FirmwareFile e1000{"pxe-e1000.rom", "ipxe-qemu", "iPXE for the e1000"};
  static const FirmwareFile virtio{"pxe-virtio.rom", "ipxe-qemu", "iPXE for virtio"};
  return model == CardConfig::Model::virtio ? virtio : e1000;
}

const FirmwareFile& ovmf_file() {
  static const FirmwareFile file{"OVMF_CODE_4M.fd", "ovmf", "OVMF"};
  return file;
}

const FirmwareFile& ovmf_variables_file() {
  static const FirmwareFile file{"OVMF_VARS_4M.fd", "ovmf", "OVMF's variables"};
  return file;
}

std::vector<const FirmwareFile*> firmware_files() {
  return {&seabios_file(),
          &video_bios_file(),
          &ovmf_file(),
          &ovmf_variables_file(),
          &network_boot_file(CardConfig::Model::e1000),
          &network_boot_file(CardConfig::Model::virtio)};
}

std::string find_firmware(const std::string& name, const std::string& folder) {
  const std::vector<std::string> own{folder};
  for (const std::string& place : folder.empty() ? usual_folders() : own) {
    const std::filesystem::path path = std::filesystem::path(place) / name;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) return path.string();
  }
  return {};
}

std::string require_firmware(const FirmwareFile& file, const std::string& folder) {
  std::string path = find_firmware(file.name, folder);
  if (!path.empty()) return path;
  if (!folder.empty()) {
    throw Error(ErrorCode::usage, "--firmware-dir " + folder + ": has no " + file.name);
  }
  throw Error(ErrorCode::usage, file.what + " (" + file.name +
                                    ") is not on this host; install it (" + "apt install " +
                                    file.package + "), or say where it is (--firmware-dir DIR)");
}

}  // namespace chronovisor::cli
