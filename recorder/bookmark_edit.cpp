#include "recorder/bookmark_edit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "base/error.h"
#include "recorder/file.h"
#include "recorder/recording_reader.h"
#include "recorder/recording_writer.h"

namespace chronovisor {
namespace {

constexpr int kLockTries = 50;
constexpr std::chrono::milliseconds kLockPause{100};

/// Holds the file for oneself; others that edit bookmarks wait.
class FileLock {
 public:
  explicit FileLock(const std::string& path) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) throw file_error(ErrorCode::bad_input, path, "open", errno);
    for (int tries = 1; ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0; ++tries) {
      // A file system without locks: there is nothing to take turns by.
      if (errno != EWOULDBLOCK && errno != EINTR) return;
      if (tries == kLockTries) {
        ::close(descriptor_);
        throw Error(ErrorCode::host, path + ": another process is changing it; try again");
      }
      std::this_thread::sleep_for(kLockPause);
    }
  }
  ~FileLock() { ::close(descriptor_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

const Bookmark* find_bookmark(const std::vector<Bookmark>& all, const std::string& name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Bookmark& b) { return b.name == name; });
  return found == all.end() ? nullptr : &*found;
}

/// Checks, by `check`, and changes, by `change`, a whole recording.
void edit(const std::string& path, const std::function<void(const RecordingReader&)>& check,
          const std::function<void(RecordingWriter&)>& change) {
  const FileLock lock(path);
  const RecordingReader reader(path);
  if (!reader.damage().empty()) {
    throw Error(ErrorCode::bad_input, reader.damage().front().message +
                                          "; a bookmark is only added to a whole recording "
                                          "(chronovisor pack makes one)");
  }
  check(reader);
  const ChunkEntry& last = reader.index().chunks.back();
  const std::uint64_t footer_offset = last.offset + kChunkHeaderSize + last.stored_length;
  RecordingWriter writer(std::make_unique<PosixOutputFile>(path, footer_offset), reader.id(),
                         reader.index());
  change(writer);
  writer.finish(std::nullopt);
}

void require_covered(const RecordingReader& reader, const Bookmark& bookmark) {
  if (bookmark.position >= reader.start() && bookmark.position <= reader.usable_to()) return;
  throw Error(ErrorCode::usage, reader.name() + ": position " + grouped(bookmark.position.steps) +
                                    " is outside the recording, which covers " +
                                    grouped(reader.start().steps) + " to " +
                                    grouped(reader.usable_to().steps));
}

}  // namespace

void append_bookmark(const std::string& path, const Bookmark& bookmark) {
  edit(
      path,
      [&](const RecordingReader& reader) {
        require_covered(reader, bookmark);
        const std::vector<Bookmark> all = reader.bookmarks();
        if (const Bookmark* there = find_bookmark(all, bookmark.name)) {
          throw Error(ErrorCode::usage, path + ": has a bookmark " + bookmark.name +
                                            " at position " + grouped(there->position.steps));
        }
      },
      [&](RecordingWriter& writer) { writer.bookmark(bookmark); });
}

void remove_bookmark(const std::string& path, const std::string& name) {
  edit(
      path,
      [&](const RecordingReader& reader) {
        const std::vector<Bookmark> all = reader.bookmarks();
        if (find_bookmark(all, name) == nullptr) {
          throw Error(ErrorCode::usage, path + ": has no bookmark \"" + name + "\"");
        }
      },
      [&](RecordingWriter& writer) { writer.remove_bookmark(name); });
}

void move_bookmark(const std::string& path, const Bookmark& bookmark) {
  edit(
      path, [&](const RecordingReader& reader) { require_covered(reader, bookmark); },
      [&](RecordingWriter& writer) {
        writer.remove_bookmark(bookmark.name);
        writer.bookmark(bookmark);
      });
}

}  // namespace chronovisor
