// Owns what the command line says of disks and discs: the options, and what becomes of
// them: the drives of a machine, their open images, and what a recording says of them.
// Main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "host/disk_image.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::cli {

class Command;

struct DiskOptions {
  std::vector<std::string> disks;
  std::vector<std::string> cdroms;
  std::vector<std::string> floppies;
};
void add_disk_options(Command& command, DiskOptions& options);

/// The drives that were asked for.
struct Drives {
  std::vector<DriveConfig> drives;
  std::vector<StartImage> images;
  std::shared_ptr<HostMedia> media;  ///< with the images open
  /// The files among the images, which must not be written.
  [[nodiscard]] std::vector<std::string> files() const;
};
/// Opens the images. Throws Error{usage}, Error{bad_input}, Error{host}.
[[nodiscard]] Drives open_drives(const DiskOptions& options);
/// For --reference-images: notes each image by its hash. Throws Error{usage} where the
/// recording could not find what it read: formats other than raw.
void reference_drives(const Drives& drives, RecordingWriter& writer);

}  // namespace chronovisor::cli
