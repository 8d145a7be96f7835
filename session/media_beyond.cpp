#include "session/media_beyond.h"

#include <algorithm>

#include "base/error.h"
#include "recorder/format/recorded_media.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::session {
namespace {

/// Adds the image of a drive to `media`, checked against what was read of it.
void add_image(const RecordingReader& reader, const StartCondition& start, std::uint32_t drive,
               const std::string& file, HostMedia& media) {
  const StartImage& known = start.drive_images.at(drive);
  const std::string path = file.empty() ? known.file : file;
  const std::string format =
      !file.empty() && !is_nbd_address(file) ? probe_disk_format(file) : known.format;
  auto image = open_disk_image(path, format);
  const std::uint64_t size = start.machine.drives.at(drive).size_bytes;
  if (image->size_bytes() != size) {
    throw Error(ErrorCode::bad_input, reader.name() + ": " + medium_role(drive) + " had " +
                                          std::to_string(size) + " bytes, but " + path + " has " +
                                          std::to_string(image->size_bytes()) +
                                          ": put the original file back");
  }
  media.begin_at(drive);
  (void)media.add(std::move(image), path);
  require_same_medium(reader, drive, media, path);
}

}  // namespace

std::shared_ptr<MediaSource> drive_image(const RecordingReader& reader, std::uint32_t drive,
                                         const std::string& file) {
  auto media = std::make_shared<HostMedia>();
  add_image(reader, start_of(reader), drive, file, *media);
  return media;
}

MediaBeyond media_beyond(const RecordingReader& reader) {
  MediaBeyond result;
  const StartCondition start = start_of(reader);
  if (start.machine.drives.empty()) return result;
  auto images = std::make_shared<HostMedia>();
  for (std::uint32_t drive = 0; drive < start.drive_images.size(); ++drive) {
    images->begin_at(drive);
    if (start.drive_images[drive].file.empty()) continue;
    try {
      auto probe =
          open_disk_image(start.drive_images[drive].file, start.drive_images[drive].format);
    } catch (const Error& error) {
      result.missing.emplace_back(error.what());
      continue;
    }
    add_image(reader, start, drive, {}, *images);
  }
  auto recorded = std::make_shared<RecordedMedia>(reader);
  recorded->set_beyond(images);
  // Discs that are put in from here on are none of those that were there before.
  std::uint32_t next = static_cast<std::uint32_t>(start.machine.drives.size());
  for (const BlockEntry& entry : reader.block_entries()) next = std::max(next, entry.medium + 1);
  for (InputCursor cursor(reader); const InputEvent* event = cursor.peek(); cursor.pop()) {
    if (event->kind != InputKind::cd_change) continue;
    const auto change = decode_medium_change(event->payload);
    if (change && change->medium < kMostMedia) next = std::max(next, change->medium + 1);
  }
  images->begin_at(next);
  result.images = images;
  result.media = recorded;
  return result;
}

}  // namespace chronovisor::session
