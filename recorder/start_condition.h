// Owns the starting condition of a run as it is kept in a recording's metadata:
// machine shape, boot protocol, command line, images by role, and where it was
// made. Turns it to JSON and back, and makes the machine from it. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "recorder/recording_reader.h"
#include "vmm/boot/boot.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct StartModule {
  std::string name;
  std::string arguments;
};

struct StartCondition {
  MachineConfig machine;
  BootKind kind = BootKind::linux_kernel;
  std::string kernel_name;
  std::string initrd_name;  ///< empty: none
  std::vector<StartModule> modules;
  std::string command_line;
  std::uint64_t flat_address = BootRequest::kDefaultFlatAddress;
  std::string engine = "soft";
  std::string idle = "warp";
  std::string host;          ///< what the recording was made on, for people
  std::string created_utc;   ///< ISO 8601, for people

  [[nodiscard]] std::string to_json() const;
  /// Throws Error{bad_input}, beginning with `what`.
  [[nodiscard]] static StartCondition from_json(const std::string& json, const std::string& what);
};

/// Roles of images in a recording.
inline constexpr const char* kKernelRole = "kernel";
inline constexpr const char* kInitrdRole = "initrd";
[[nodiscard]] std::string module_role(std::size_t index);

/// Gives the content of an image by its role.
using ImageProvider = std::function<Bytes(const std::string& role)>;

/// Makes the machine at position 0. Throws Error{bad_input}.
[[nodiscard]] std::unique_ptr<Machine> make_machine(const StartCondition& start,
                                                    const ImageProvider& image);
/// The images of a recording: embedded ones, or the files they refer to,
/// checked against their hashes.
[[nodiscard]] ImageProvider images_of(const RecordingReader& reader);
/// The starting condition of a recording.
[[nodiscard]] StartCondition start_of(const RecordingReader& reader);

}  // namespace chronovisor
