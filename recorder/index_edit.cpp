#include "recorder/index_edit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/error.h"
#include "recorder/file.h"
#include "recorder/recording_reader.h"
#include "recorder/recording_writer.h"

namespace chronovisor {
namespace {

/// Holds the file for oneself as long as it lives.
class FileLock {
 public:
  explicit FileLock(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw file_error(ErrorCode::bad_input, path, "open", errno);
    int result = 0;
    do {
      result = ::flock(descriptor_, LOCK_EX);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
      const Error error = file_error(ErrorCode::host, path, "lock", errno);
      ::close(descriptor_);
      throw error;
    }
  }
  ~FileLock() { ::close(descriptor_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace

void append_intervals(const std::string& path, std::span<const NewInterval> intervals) {
  if (intervals.empty()) return;
  const FileLock lock(path);
  const RecordingReader reader(path);
  if (!reader.damage().empty()) {
    throw Error(ErrorCode::bad_input, reader.damage().front().message +
                                          "; an index is only added to a whole recording "
                                          "(index -o NEW makes one)");
  }
  const ChunkEntry& last = reader.index().chunks.back();
  const std::uint64_t footer_offset = last.offset + kChunkHeaderSize + last.stored_length;
  RecordingWriter writer(std::make_unique<PosixOutputFile>(path, footer_offset), reader.id(),
                         reader.index());
  for (const NewInterval& interval : intervals) {
    writer.interval_index(interval.from, interval.to, interval.data);
  }
  writer.finish(std::nullopt);
}

}  // namespace chronovisor
