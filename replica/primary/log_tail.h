// Owns the reading of a recording while it is being made, for whoever gets it as it grows:
// all of it, or of a part only the chunks from which a run follows. The file is the queue:
// what a slow backup does not have yet waits there and nowhere else. One thread at a time.
//
// A flight recording goes on in other files: its segments. Offsets count on through all of
// them, and a segment that has been removed can be read for as long as somebody holds it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/units.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"
#include "replica/protocol/message.h"

namespace chronovisor::replica {

/// Inputs, blocks of disks, and digests: a machine that has these needs nothing else.
[[nodiscard]] bool is_log_chunk(std::uint32_t type);

class LogTail {
 public:
  /// The file must have its header. Throws Error{bad_input}.
  explicit LogTail(const std::string& path);
  /// Up to `most` bytes from `offset` on.
  [[nodiscard]] Bytes read(std::uint64_t offset, std::size_t most) const;
  /// The whole log chunks that begin in [from, to), both between chunks; `to` may be the
  /// file's end. Throws Error{bad_input} when there is something else.
  [[nodiscard]] Bytes log_between(std::uint64_t from, std::uint64_t to) const;

 private:
  PosixInputFile file_;
  FileId id_;
};

/// One file of a recording.
struct LogSegment {
  LogSegment(const std::string& path, std::uint64_t first) : file(path), begin(first) {}
  LogTail file;
  std::uint64_t begin;  ///< where its bytes begin among those of all segments
  /// Known once the next one has begun; `last` and `next` are set before.
  std::atomic<std::uint64_t> end{kNever};
  Mark last;
  std::shared_ptr<LogSegment> next;
};

/// Where in a recording somebody is who gets it as it grows.
class LogPosition {
 public:
  /// The beginning of a segment.
  explicit LogPosition(std::shared_ptr<LogSegment> segment)
      : segment_(std::move(segment)), at_(segment_->begin) {}
  [[nodiscard]] const LogSegment& segment() const { return *segment_; }
  [[nodiscard]] std::uint64_t at() const { return at_; }
  /// The next bytes of the segment, as they are, up to `to`.
  [[nodiscard]] Bytes take_bytes(std::uint64_t to, std::size_t most);
  /// The log up to `to`, through as many segments as lead there: before that of each further
  /// one its file's header.
  [[nodiscard]] Bytes take_log(std::uint64_t to);

 private:
  std::shared_ptr<LogSegment> segment_;
  std::uint64_t at_;
};

}  // namespace chronovisor::replica
