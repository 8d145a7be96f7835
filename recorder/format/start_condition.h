// Owns the starting condition of a run as it is kept in a recording's metadata:
// machine shape, boot protocol, command line, images by role, and where it was
// made. Turns it to JSON and back, and makes the machine from it. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "recorder/format/recording_reader.h"
#include "vmm/boot/boot.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct StartModule {
  std::string name;
  std::string arguments;
};

/// The recording that a run went on from, for people and for finding it again.
struct ParentRecording {
  std::string file_id;  ///< hexadecimal
  std::string name;     ///< of the file, without its folder
  Position position;    ///< where the run left the parent
  /// Exceptions and interrupts already delivered at that position.
  std::uint32_t deliveries = 0;
  /// Of the state the run went on with, hexadecimal: that of the parent there,
  /// unless something was delivered or changed.
  std::string digest;
  bool changed_by_hand = false;  ///< registers or memory were changed in a debugger
};

/// The image of a drive's first medium, for people and for finding it again.
struct StartImage {
  std::string file;
  std::string format;
  bool operator==(const StartImage&) const = default;
};

/// As it is written: "ide", "ahci", "virtio", "floppy".
[[nodiscard]] const char* drive_interface_name(DriveConfig::Interface interface);

/// As it is written: "e1000", "virtio".
[[nodiscard]] const char* card_model_name(CardConfig::Model model);
/// "52:54:00:12:34:56"
[[nodiscard]] std::string mac_text(const MacAddress& address);
/// Nothing when it is no such text.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);

struct StartCondition {
  MachineConfig machine;
  std::uint32_t state_version = kMachineStateVersion;  ///< of its saved states and digests
  BootKind kind = BootKind::linux_kernel;
  std::string kernel_name;
  std::string initrd_name;         ///< empty: none
  std::string firmware_name;       ///< of kind firmware, which has no kernel
  std::string variables_name;      ///< what the firmware's flash begins with; empty: it has none
  std::string video_bios_name;     ///< empty: none
  std::string boot_order = "cad";  ///< for firmware: which devices it tries, by letter
  std::vector<StartModule> modules;
  std::string command_line;
  std::uint64_t flat_address = BootRequest::kDefaultFlatAddress;
  BootLayout layout = BootLayout::conventional;
  std::vector<StartImage> drive_images;  ///< of machine.drives, in their order
  std::string engine = "soft";
  std::string idle = "warp";
  std::string host;         ///< what the recording was made on, for people
  std::string created_utc;  ///< ISO 8601, for people
  /// Set in a recording that went on from another one. It begins with its first
  /// checkpoint, even at position 0, and its images are only for people's tools.
  std::optional<ParentRecording> parent;

  [[nodiscard]] std::string to_json() const;
  /// Throws Error{bad_input}, beginning with `what`.
  [[nodiscard]] static StartCondition from_json(const std::string& json, const std::string& what);
};

/// An image is refused beyond this.
inline constexpr std::uint64_t kMostImageBytes = 4ULL << 30;
/// Roles of images in a recording.
inline constexpr const char* kKernelRole = "kernel";
inline constexpr const char* kInitrdRole = "initrd";
inline constexpr const char* kFirmwareRole = "firmware";
inline constexpr const char* kVariablesRole = "firmware-variables";
inline constexpr const char* kVideoBiosRole = "video-bios";
[[nodiscard]] std::string module_role(std::size_t index);

/// Those without which make_machine() makes none.
[[nodiscard]] std::vector<std::string> image_roles(const StartCondition& start);

/// Gives the content of an image by its role.
using ImageProvider = std::function<Bytes(const std::string& role)>;

/// Makes the machine at position 0. Throws Error{bad_input}.
[[nodiscard]] std::unique_ptr<Machine> make_machine(const StartCondition& start,
                                                    const ImageProvider& image);
/// The images of a recording: embedded ones, or the files they refer to,
/// checked against their hashes.
[[nodiscard]] ImageProvider images_of(const RecordingReader& reader);
/// The starting condition of a recording, for looking at.
[[nodiscard]] StartCondition start_of(const RecordingReader& reader);
/// The same for making the machine and looking at its saved states. Throws
/// Error{bad_input} also when this program does not have that machine: its model, or
/// its states as a whole.
[[nodiscard]] StartCondition inspectable_start_of(const RecordingReader& reader);
/// The same for making the machine and running it. Throws Error{bad_input} also when
/// this program does not replay what that machine did.
[[nodiscard]] StartCondition runnable_start_of(const RecordingReader& reader);
/// The same for a recording with counted places, from which positions are to be
/// found.
[[nodiscard]] StartCondition countable_start_of(const RecordingReader& reader);
/// Throws Error{bad_input} when the events of the recording have counted places.
void require_positions(const RecordingReader& reader);
/// Whether the recording begins with the guest as loaded from its images;
/// otherwise with its first checkpoint.
[[nodiscard]] bool begins_at_power_on(const RecordingReader& reader);

}  // namespace chronovisor
