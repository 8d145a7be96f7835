// Owns what a run that leaves a recording reads of disks which the recorded run did not
// read: the images that the recording names, once they have proved to be the same. Any
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "host/disk_image.h"
#include "recorder/format/recording_reader.h"
#include "vmm/devices/core/media.h"

namespace chronovisor::session {

struct MediaBeyond {
  /// Recorded blocks first, then the images; null when the machine has no drives.
  std::shared_ptr<MediaSource> media;
  std::shared_ptr<HostMedia> images;  ///< those images; more may be added
  /// The images that cannot be opened, and why; what is not recorded of them cannot be
  /// read.
  std::vector<std::string> missing;
};
/// The reader must outlive the result.
/// Throws Error{bad_input} when an image is not the one that was recorded.
[[nodiscard]] MediaBeyond media_beyond(const RecordingReader& reader);
/// Opens the image of one drive. Throws Error{bad_input} when it cannot be read, or is not
/// the one that was recorded. @param file in place of the one that was recorded
[[nodiscard]] std::shared_ptr<MediaSource> drive_image(const RecordingReader& reader,
                                                       std::uint32_t drive,
                                                       const std::string& file = {});

}  // namespace chronovisor::session
