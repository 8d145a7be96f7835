// Owns the media of a replay: blocks come from the recording that kept them or, where
// it refers to its images, from these once they have proved to be the same. Knows no
// machine. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "vmm/devices/core/media.h"

namespace chronovisor {

class RecordedMedia final : public MediaSource {
 public:
  /// The reader must outlive this.
  explicit RecordedMedia(const RecordingReader& reader) : reader_(reader) {}
  /// Where what the recorded run did not read comes from, for a run that leaves it.
  void set_beyond(std::shared_ptr<MediaSource> beyond) { beyond_ = std::move(beyond); }
  /// A block that the recorded run did not read, with nothing beyond, is an
  /// Error{divergence}: a replay reads no others, and nothing is known of it. Throws
  /// Error{bad_input} on damage, and when a referenced image is not what it was.
  [[nodiscard]] bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override;

 private:
  /// The image that the recording refers to for a medium; null: it refers to none.
  const InputFile* referenced(std::uint32_t medium);

  const RecordingReader& reader_;
  std::shared_ptr<MediaSource> beyond_;
  std::mutex mutex_;
  std::map<std::uint32_t, std::unique_ptr<InputFile>> images_;
};

/// The role of a medium's image, where a recording refers to it.
[[nodiscard]] std::string medium_role(std::uint32_t medium);
/// Throws Error{bad_input}, naming recording and `file`, when an image holds other bytes
/// than those that the recorded run read of a medium.
void require_same_medium(const RecordingReader& reader, std::uint32_t medium, MediaSource& image,
                         const std::string& file);
/// Opens the file that `image` refers to. Throws Error{bad_input}, naming recording and
/// file, when it is not there or has changed.
[[nodiscard]] std::unique_ptr<InputFile> open_referenced(const RecordingReader& reader,
                                                         const ImageInfo& image);

}  // namespace chronovisor
