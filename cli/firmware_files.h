// Owns where firmware images are found on this host: where the distribution's packages
// put them, or in a folder that the user names. Reads no file. Any thread.
#pragma once

#include <string>
#include <vector>

#include "vmm/devices/core/card.h"

namespace chronovisor::cli {

/// An image that machines start from, or show to firmware.
struct FirmwareFile {
  std::string name;     ///< "bios-256k.bin"
  std::string package;  ///< of Debian, that has it
  std::string what;     ///< "SeaBIOS"
};
[[nodiscard]] const FirmwareFile& seabios_file();
[[nodiscard]] const FirmwareFile& video_bios_file();
/// What starts from the network by a card of the model.
[[nodiscard]] const FirmwareFile& network_boot_file(CardConfig::Model model);
[[nodiscard]] const FirmwareFile& ovmf_file();
/// What OVMF's flash begins with.
[[nodiscard]] const FirmwareFile& ovmf_variables_file();
/// All of them.
[[nodiscard]] std::vector<const FirmwareFile*> firmware_files();

/// @param folder the user's, or empty
/// @return a path, or nothing when there is no such file
[[nodiscard]] std::string find_firmware(const std::string& name, const std::string& folder);
/// Throws Error{usage} that says what to install.
[[nodiscard]] std::string require_firmware(const FirmwareFile& file, const std::string& folder);

}  // namespace chronovisor::cli
