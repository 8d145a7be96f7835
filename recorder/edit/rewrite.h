// Owns making a recording out of one or several others: a part of it, smaller,
// or consecutive segments joined. Inputs, digests, checkpoints, console output
// and bookmarks keep their positions; nothing is replayed. Knows no machine.
// One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor {

struct RewriteOptions {
  /// The result starts at the last checkpoint at or before this; nothing: where
  /// the first source starts.
  std::optional<Position> from;
  /// The result ends here, or where the sources do.
  Position to{kNever};
  /// Every how many checkpoints one is kept; 0: only one to start from.
  std::uint64_t keep_every = 1;
  /// The summary of the result; nothing: that of the last source, if the result
  /// reaches its end.
  std::optional<std::string> summary_json;
  /// The result is a part of a recording, and another one follows it.
  bool part_follows = false;
  /// How the result is written; `start` is set by the rewriting.
  WriterOptions writer;
};

struct RewriteResult {
  Position start;
  Position end;
  std::uint64_t bytes = 0;
  std::size_t checkpoints = 0;
  std::size_t images = 0;
  std::size_t images_dropped = 0;  ///< not needed: the result starts at a checkpoint
};

/// Writes what `sources`, in order, hold to `file`. Each source must begin
/// where the one before it ends or earlier, and be of the same guest. Throws
/// Error{bad_input} when they do not fit together or are damaged, Error{usage}
/// when nothing lies between `from` and `to`, Error{host}.
RewriteResult rewrite_recording(std::span<const RecordingReader* const> sources,
                                std::unique_ptr<OutputFile> file, const RewriteOptions& options);

/// The position of the last checkpoint whose virtual time is at most
/// `virtual_ns`; position 0 when there is none.
[[nodiscard]] Position position_at_virtual_time(const RecordingReader& reader,
                                                std::uint64_t virtual_ns);

}  // namespace chronovisor
