#include "recorder/format/recorded_media.h"

#include <algorithm>

#include "base/error.h"
#include "recorder/format/page_table.h"

namespace chronovisor {

std::string medium_role(std::uint32_t medium) { return "disk" + std::to_string(medium); }

std::unique_ptr<InputFile> open_referenced(const RecordingReader& reader, const ImageInfo& image) {
  auto file = std::make_unique<PosixInputFile>(image.path);
  const std::string where = reader.name() + ": " + image.role + " is referenced as " + image.path;
  if (file->size() != image.size_bytes) {
    throw Error(ErrorCode::bad_input, where + ", which now has " + std::to_string(file->size()) +
                                          " bytes instead of " + std::to_string(image.size_bytes) +
                                          ": put the original file back");
  }
  Hasher hasher;
  Bytes piece(1U << 20);
  for (std::uint64_t at = 0; at < image.size_bytes;) {
    const std::size_t count = file->read(at, piece);
    if (count == 0) break;
    hasher.add(ByteView(piece).first(count));
    at += count;
  }
  if (const Hash128 hash = hasher.finish(); hash != image.hash) {
    throw Error(ErrorCode::bad_input, where + ", whose content has changed since (hash " +
                                          hash.hex() + ", expected " + image.hash.hex() +
                                          "): put the original file back");
  }
  return file;
}

void require_same_medium(const RecordingReader& reader, std::uint32_t medium, MediaSource& image,
                         const std::string& file) {
  Bytes content(kBlockBytes);
  for (const BlockEntry& entry : reader.block_entries()) {
    if (entry.medium != medium || entry.kind == BlockKind::unreadable) continue;
    const bool read =
        image.read_block(medium, entry.block, std::span(content).first<kBlockBytes>());
    const Hash128& wanted = entry.kind == BlockKind::zeros ? zero_page_hash() : entry.hash;
    if (read && hash128(content) == wanted) continue;
    throw Error(ErrorCode::bad_input, reader.name() + ": " + medium_role(medium) + " was " + file +
                                          ", whose content has changed since (block " +
                                          grouped(entry.block) + "): put the original file back");
  }
}

const InputFile* RecordedMedia::referenced(std::uint32_t medium) {
  const std::lock_guard lock(mutex_);
  const auto [known, is_new] = images_.try_emplace(medium);
  if (!is_new) return known->second.get();
  try {
    for (const ImageInfo& image : reader_.images()) {
      if (image.role != medium_role(medium) || image.storage != ImageStorage::referenced) continue;
      known->second = open_referenced(reader_, image);
    }
  } catch (const Error&) {
    images_.erase(known);  // it is refused again the next time
    throw;
  }
  return known->second.get();
}

bool RecordedMedia::read_block(std::uint32_t medium, std::uint64_t block, Block out) {
  if (const auto kind = reader_.read_block(medium, block, out)) {
    return *kind != BlockKind::unreadable;
  }
  const InputFile* image = referenced(medium);
  if (image == nullptr && beyond_ != nullptr) return beyond_->read_block(medium, block, out);
  if (image == nullptr) {
    throw Error(ErrorCode::divergence,
                reader_.name() + ": block " + grouped(block) + " of " + medium_role(medium) +
                    " was not read in the recorded run, so the recording does not have it");
  }
  const std::size_t count = image->read(block * kBlockBytes, out);
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(count), out.end(), std::uint8_t{0});
  return true;
}

}  // namespace chronovisor
