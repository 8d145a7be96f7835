#include "replica/backup/block_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "recorder/format/file.h"

namespace chronovisor::replica {

BlockStore::BlockStore(const std::string& beside) {
  std::filesystem::path folder = std::filesystem::path(beside).parent_path();
  if (folder.empty()) folder = ".";
  file_ = Descriptor(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file_.open()) return;
  // Not every file system has files without names.
  std::string name = beside + ".XXXXXX";
  file_ = Descriptor(mkostemp(name.data(), O_CLOEXEC));
  if (!file_.open()) throw file_error(ErrorCode::host, beside, "make a file beside it", errno);
  unlink(name.c_str());
}

void BlockStore::set_before(std::shared_ptr<MediaSource> before,
                            const std::vector<BlockEntry>& entries) {
  const std::lock_guard lock(mutex_);
  before_ = std::move(before);
  for (const BlockEntry& entry : entries) {
    if (entry.kind != BlockKind::kept) continue;
    contents_before_.try_emplace(entry.hash, SameContent{entry.medium, entry.block});
  }
}

void BlockStore::begin_file() {
  const std::lock_guard lock(mutex_);
  chunks_.clear();
}

void BlockStore::add_data(std::uint64_t sequence, ByteView contents) {
  const std::lock_guard lock(mutex_);
  for (std::size_t done = 0; done < contents.size();) {
    const ssize_t count = pwrite(file_.get(), contents.data() + done, contents.size() - done,
                                 static_cast<off_t>(size_ + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw file_error(ErrorCode::host, "blocks of disks", "write", errno);
    done += static_cast<std::size_t>(count);
  }
  chunks_[sequence] = {size_, contents.size()};
  size_ += contents.size();
}

void BlockStore::add_directory(const std::vector<BlockEntry>& entries) {
  const std::lock_guard lock(mutex_);
  for (const BlockEntry& entry : entries) {
    Place place{entry.kind, 0, std::nullopt};
    if (entry.kind == BlockKind::kept) {
      const auto chunk = chunks_.find(entry.sequence);
      const std::uint64_t at = std::uint64_t{entry.index} * kBlockBytes;
      if (chunk == chunks_.end()) {
        place.shared = entry.hash;
      } else if (at + kBlockBytes > chunk->second.size) {
        throw Error(ErrorCode::bad_input, "the primary's log: a block beyond its chunk's end");
      } else {
        place.offset = chunk->second.offset + at;
      }
    }
    blocks_[block_key(entry.medium, entry.block)] = place;
  }
}

bool BlockStore::read_block(std::uint32_t medium, std::uint64_t block, Block out) {
  std::unique_lock lock(mutex_);
  const auto found = blocks_.find(block_key(medium, block));
  if (found == blocks_.end()) {
    lock.unlock();
    return before_ != nullptr && before_->read_block(medium, block, out);
  }
  const Place place = found->second;
  if (place.shared) {
    const auto same = contents_before_.find(*place.shared);
    if (same == contents_before_.end() || before_ == nullptr) return false;
    const SameContent other = same->second;
    lock.unlock();
    return before_->read_block(other.medium, other.block, out);
  }
  lock.unlock();
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (place.kind == BlockKind::unreadable) return false;
  if (place.kind == BlockKind::zeros) return true;
  const ssize_t got = pread(file_.get(), out.data(), out.size(), static_cast<off_t>(place.offset));
  return got == static_cast<ssize_t>(out.size());
}

}  // namespace chronovisor::replica
