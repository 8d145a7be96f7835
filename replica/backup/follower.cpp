#include "replica/backup/follower.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "recorder/live/recording_child.h"
#include "timetravel/replay.h"

namespace chronovisor::replica {
namespace {

/// On arrival at the last checkpoint, or as loaded when there is none.
std::unique_ptr<Machine> machine_from(const RecordingReader& past) {
  (void)runnable_start_of(past);
  std::optional<Position> from;
  if (!past.checkpoints().empty()) from = past.checkpoints().back().position;
  return ReplayRun(past, from).take_machine();
}

void begin_images(const RecordingReader& past, RecordingWriter& writer) {
  if (writer.start() == past.start()) {
    copy_images(past, writer);
    return;
  }
  // As in a segment of a flight recording, which begins at a checkpoint.
  for (const ImageInfo& image : past.images()) {
    if (image.storage == ImageStorage::referenced) writer.reference_image(image);
  }
}

}  // namespace

Follower::Follower(std::shared_ptr<const RecordingReader> past, std::shared_ptr<MediaSource> media,
                   const std::string& recording, const std::optional<KeepPolicy>& keep, Parts parts)
    : past_(std::move(past)),
      parts_(std::move(parts)),
      machine_(machine_from(*past_)),
      start_(machine_->position()),
      input_(parts_.log,
             {.go_live = parts_.go_live,
              .joined = [this](std::uint64_t outputs) { parts_.gate.begin_at(outputs); },
              .waiting = [this] { waiting(); },
              .here = [this](Position position) { parts_.link.at(position); }},
             parts_.stop) {
  begin_recording(recording, keep);
  std::deque<InputEvent> events;
  for (InputCursor cursor(*past_, start_); const InputEvent* event = cursor.peek(); cursor.pop()) {
    events.push_back(*event);
  }
  parts_.log.begin_with(std::move(events));
  for (const auto& [position, digest] : recorded_digests(*past_)) {
    if (position > start_) parts_.log.add_digest(position, digest);
  }
  parts_.blocks.set_before(std::move(media), past_->block_entries());
  machine_->media().set_source(
      std::shared_ptr<MediaSource>(std::shared_ptr<void>(), &parts_.blocks));
  RecorderOptions options;
  options.checkpoint_every_ns = kUsualCheckpointNs;
  options.begin_with_checkpoint = true;
  options.index = false;
  options.segment_begun = [this] { parts_.segment_begun(flight_->ended_bytes()); };
  options.cancel = parts_.stop;
  if (flight_) {
    recorder_.emplace(*machine_, *flight_, input_, nullptr, monotonic_ns, options);
  } else {
    recorder_.emplace(*machine_, *whole_, input_, nullptr, monotonic_ns, options);
  }
  machine_->outputs().attach(parts_.gate);
}

TapeCounter Follower::counter() const {
  return {machine_->position(), machine_->now().ns, monotonic_ns()};
}

/// Everything is put into the file with each tick, since marks rely on it.
void Follower::begin_recording(const std::string& path, const std::optional<KeepPolicy>& keep) {
  StartCondition condition = start_of(*past_);
  condition.host = host_description();
  condition.created_utc = utc_text(unix_seconds());
  WriterOptions options;
  options.start = start_;
  options.hold_ns = 0;
  if (keep) {
    flight_.emplace(path, condition.to_json(), options, *keep, counter(),
                    [&](RecordingWriter& writer) { begin_images(*past_, writer); });
    return;
  }
  whole_ = std::make_unique<RecordingWriter>(
      std::make_unique<PosixOutputFile>(path, ExistingFile::replace), FileId::random(),
      condition.to_json(), options);
  begin_images(*past_, *whole_);
}

void Follower::finish(const std::string& summary_json) {
  if (flight_) {
    flight_->finish(summary_json, counter());
  } else {
    whole_->finish(summary_json);
  }
}

Follower::~Follower() { machine_->outputs().detach(parts_.gate); }

void Follower::waiting() {
  if (parts_.interrupted.requested()) parts_.stop = true;
  recorder_->waiting();
}

RunOutcome Follower::run() {
  recorder_->begin();
  MachineStop stop = MachineStop::reached;
  while (stop == MachineStop::reached) {
    Position target = recorder_->next_stop();
    if (!input_.is_live()) target = std::min(target, parts_.log.limit(machine_->position()));
    if (parts_.interrupted.requested()) parts_.stop = true;
    stop = machine_->run({target, 0}, parts_.stop);
    if (stop == MachineStop::reached && !input_.is_live()) compare();
    recorder_->stopped();
  }
  return recorder_->end(stop);
}

void Follower::compare() {
  const Position here = machine_->position();
  const auto recorded = parts_.log.take_digest(here);
  if (!recorded) return;
  const Hash128 digest = machine_->digest();
  if (digest == *recorded) {
    parts_.link.compared(here);
    return;
  }
  parts_.link.diverged({here, *recorded, digest});
  throw Error(ErrorCode::divergence, "this machine differs from the primary's at position " +
                                         grouped(here.steps) + ": digest " + digest.hex() +
                                         ", recorded " + recorded->hex());
}

}  // namespace chronovisor::replica
