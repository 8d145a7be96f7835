// Owns the reading of a recording while it is being made, for whoever gets it as it grows:
// all of it, or of a part only the chunks from which a run follows. The file is the queue:
// what a slow backup does not have yet waits there and nowhere else. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"

namespace chronovisor::replica {

/// Inputs, blocks of disks, and digests: a machine that has these needs nothing else.
[[nodiscard]] bool is_log_chunk(std::uint32_t type);

class LogTail {
 public:
  /// The file must have its header. Throws Error{bad_input}.
  explicit LogTail(const std::string& path);
  /// Up to `most` bytes from `offset` on.
  [[nodiscard]] Bytes read(std::uint64_t offset, std::size_t most) const;
  /// The whole log chunks that begin in [from, to), both between chunks. Throws
  /// Error{bad_input} when there is something else.
  [[nodiscard]] Bytes log_between(std::uint64_t from, std::uint64_t to) const;

 private:
  PosixInputFile file_;
  FileId id_;
};

}  // namespace chronovisor::replica
