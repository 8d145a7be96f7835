#include "recorder/live/flight_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {
namespace {

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    throw file_error(ErrorCode::host, path, "remove", errno);
  }
}

void rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw file_error(ErrorCode::host, from, "rename to " + to, errno);
  }
}

/// How long a segment must be beyond its first checkpoint before the next
/// begins, so that a limit too small for the guest does not make a checkpoint of
/// every moment.
constexpr std::uint64_t kLeastSteps = 1'000'000;

}  // namespace

FlightRecorder::FlightRecorder(std::string path, std::string metadata_json,
                               const WriterOptions& options, const KeepPolicy& keep,
                               const TapeCounter& start,
                               const std::function<void(RecordingWriter&)>& begin)
    : path_(std::move(path)),
      metadata_json_(std::move(metadata_json)),
      options_(options),
      keep_(keep),
      segment_start_(start) {
  remove_file(older_path());
  remove_file(new_path());
  options_.start = start.position;
  writer_ = std::make_unique<RecordingWriter>(
      std::make_unique<PosixOutputFile>(path_, ExistingFile::replace), FileId::random(),
      metadata_json_, options_);
  begin(*writer_);
  segment_first_bytes_ = writer_->file_bytes();
}

FlightRecorder::~FlightRecorder() = default;

bool FlightRecorder::is_due(const TapeCounter& here) const {
  if (here.position.steps < segment_start_.position.steps + kLeastSteps) return false;
  switch (keep_.unit) {
    case KeepPolicy::Unit::virtual_time:
      return here.virtual_ns - segment_start_.virtual_ns >= keep_.amount;
    case KeepPolicy::Unit::wall_time:
      return here.wall_ns - segment_start_.wall_ns >= keep_.amount;
    case KeepPolicy::Unit::bytes:
      return writer_->file_bytes() > segment_first_bytes_ &&
             writer_->file_bytes() + writer_->held_bytes() >= keep_.amount / 2;
  }
  return false;
}

RecordingWriter& FlightRecorder::begin_segment(const TapeCounter& here) {
  writer_->advance_to(here.position);
  writer_->finish(std::nullopt);
  const std::uint64_t ended_bytes = writer_->file_bytes();
  // The segment that has just ended is all that is to be kept, so there is
  // never a third one on the disk.
  remove_file(older_path());
  older_bytes_ = ended_bytes;
  options_.start = here.position;
  writer_ = std::make_unique<RecordingWriter>(
      std::make_unique<PosixOutputFile>(new_path(), ExistingFile::replace), FileId::random(),
      metadata_json_, options_);
  segment_start_ = here;
  ++segments_;
  return *writer_;
}

void FlightRecorder::commit_segment() {
  if (options_.sync == SyncPolicy::none) {
    writer_->flush();
  } else {
    writer_->flush_and_sync();
  }
  segment_first_bytes_ = writer_->file_bytes();
  // Where the host can, the two change places at once; so there is always a
  // recording at the path.
  if (::renameat2(AT_FDCWD, new_path().c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) {
    rename_file(new_path(), older_path());
    return;
  }
  rename_file(path_, older_path());
  rename_file(new_path(), path_);
}

void FlightRecorder::finish(std::string_view summary_json, const TapeCounter& here) {
  if (segments_ == 1) {
    writer_->finish(summary_json);
    return;
  }
  writer_->finish(std::nullopt);
  try {
    join(summary_json, here);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) + " (the end of the run is in " + path_ +
                                  ", what came before it in " + older_path() +
                                  "; chronovisor pack joins them)");
  }
}

void FlightRecorder::join(std::string_view summary_json, const TapeCounter& here) {
  const RecordingReader older(older_path());
  const RecordingReader newer(path_);
  const RecordingReader* const both[] = {&older, &newer};
  RewriteOptions options;
  options.writer = options_;
  options.summary_json = std::string(summary_json);
  if (keep_.unit == KeepPolicy::Unit::virtual_time) {
    // Of the older segment only what is needed; wall time is not in the file.
    const std::uint64_t from_ns = here.virtual_ns - std::min(here.virtual_ns, keep_.amount);
    options.from = std::max(position_at_virtual_time(older, from_ns),
                            position_at_virtual_time(newer, from_ns));
  }
  rewrite_recording(both, std::make_unique<PosixOutputFile>(new_path(), ExistingFile::replace),
                    options);
  rename_file(new_path(), path_);
  remove_file(older_path());
}

}  // namespace chronovisor
