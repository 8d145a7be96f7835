#include "recorder/edit/file_edit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include "base/error.h"
#include "recorder/format/file.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

constexpr int kLockTries = 50;
constexpr std::chrono::milliseconds kLockPause{100};

/// Holds the file for oneself; others that edit it wait.
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

}  // namespace

void edit_recording(const std::string& path, std::string_view refusal,
                    const std::function<void(const RecordingReader&)>& check,
                    const std::function<void(RecordingWriter&)>& change) {
  // What is added to a recording in parts is at its end.
  const std::string file = RecordingReader(path).parts().back().file;
  const FileLock lock(file);
  const RecordingReader whole(path);
  if (!whole.damage().empty()) {
    throw Error(ErrorCode::bad_input, whole.damage().front().message + "; " + std::string(refusal));
  }
  require_positions(whole);
  check(whole);
  ReaderOptions how;
  how.alone = true;
  const RecordingReader reader(file, how);
  const ChunkEntry& last = reader.index().chunks.back();
  const std::uint64_t footer_offset = last.offset + kChunkHeaderSize + last.stored_length;
  RecordingWriter writer(std::make_unique<PosixOutputFile>(file, footer_offset), reader.id(),
                         reader.index());
  change(writer);
  writer.finish(std::nullopt);
}

}  // namespace chronovisor
