#include "recorder/live/parted_recorder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "recorder/format/recording_part.h"

namespace chronovisor {
namespace {

/// What an earlier run left beside `path`.
void remove_parts(const std::string& path) {
  for (const std::string& part : further_parts(path)) {
    std::error_code failed;
    std::filesystem::remove(part, failed);
  }
}

}  // namespace

PartedRecorder::PartedRecorder(std::string path, std::string metadata_json,
                               const WriterOptions& options, const PartPlan& plan,
                               const TapeCounter& start,
                               const std::function<void(RecordingWriter&)>& begin)
    : path_(std::move(path)),
      metadata_json_(std::move(metadata_json)),
      options_(options),
      plan_(plan),
      thinner_(options),
      run_(FileId::random()),
      part_start_(start.position) {
  remove_parts(path_);
  options_.start = start.position;
  writer_ = new_part(run_);
  begin(*writer_);
  least_bytes_ = writer_->file_bytes() + 1;
}

/// The file of part `number_`, with what it says of itself.
std::unique_ptr<RecordingWriter> PartedRecorder::new_part(const FileId& id) {
  WriterOptions options = options_;
  options.part = PartNote{PartNote::What::is, run_, number_};
  return std::make_unique<RecordingWriter>(
      std::make_unique<PosixOutputFile>(part_path(path_, number_), ExistingFile::replace), id,
      metadata_json_, options);
}

bool PartedRecorder::is_due(const TapeCounter& here) const {
  if (number_ == kMostParts) return false;  // the last one takes the rest
  if (here.position.steps < part_start_.steps + plan_.least_steps) return false;
  return writer_->file_bytes() + writer_->held_bytes() >= std::max(plan_.part_bytes, least_bytes_);
}

RecordingWriter& PartedRecorder::begin_segment(const TapeCounter& here) {
  writer_->advance_to(here.position);
  ++number_;
  options_.start = here.position;
  // The next is there before this one says so.
  std::unique_ptr<RecordingWriter> next = new_part(FileId::random());
  for (const ImageInfo& image : writer_->index().images) {
    // They make the machine at power-on; but disks are read all the time.
    if (image.storage == ImageStorage::referenced) next->reference_image(image);
  }
  writer_->note_next_part();
  writer_->finish(std::nullopt);
  ended_bytes_ += writer_->file_bytes();
  writer_ = std::move(next);
  least_bytes_ = 0;  // until its first checkpoint is whole
  part_start_ = here.position;
  return *writer_;
}

void PartedRecorder::commit_segment() {
  if (options_.sync == SyncPolicy::none) {
    writer_->flush();
  } else {
    writer_->flush_and_sync();
  }
  least_bytes_ = 2 * writer_->file_bytes();
  thin_old_parts();
}

/// So that of a part that lies 2, 4, 8 ... parts back every second, fourth, eighth checkpoint
/// is left.
void PartedRecorder::thin_old_parts() {
  for (std::uint64_t back = 2; back <= plan_.most_thinned && back < number_; back *= 2) {
    thinner_.halve(part_path(path_, number_ - back));
  }
}

void PartedRecorder::finish(std::string_view summary_json, const TapeCounter& /*here*/) {
  thinner_.stop();
  writer_->finish(summary_json);
}

}  // namespace chronovisor
