#include "timetravel/io_walk.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "recorder/format/start_condition.h"
#include "timetravel/replay.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 20'000'000;

class Visits final : public IoObserver {
 public:
  Visits(const IoWalk& walk, const std::function<bool(const IoAccess&)>& visit)
      : walk_(walk), visit_(visit) {}
  void accessed(const IoAccess& access) override {
    if (done_ || access.position < walk_.from || access.position >= walk_.to) return;
    done_ = !visit_(access);
  }
  [[nodiscard]] bool done() const { return done_; }

 private:
  const IoWalk& walk_;
  const std::function<bool(const IoAccess&)>& visit_;
  bool done_ = false;
};

}  // namespace

void for_each_access(const RecordingReader& reader, const IoWalk& walk,
                     const std::function<bool(const IoAccess&)>& visit) {
  const bool inside = walk.from > reader.start() && reader.checkpoint_before(walk.from);
  const std::optional<Position> from = inside ? std::optional(walk.from) : std::nullopt;
  ReplayRun run(reader, from);
  Visits visits(walk, visit);
  run.machine().set_io_observer(&visits);
  const Position end = std::min(walk.to, reader.usable_to());
  while (!visits.done() && run.position() < end) {
    if (walk.progress) walk.progress(run.position());
    const Position target{std::min(end.steps, run.position().steps + kSliceSteps)};
    const ReplayRun::Arrival arrival = run.run_to(target, walk.cancel);
    if (arrival == ReplayRun::Arrival::interrupted) throw Error(ErrorCode::host, "interrupted");
    if (arrival != ReplayRun::Arrival::arrived) {
      throw DivergenceError(
          reader.name() + ": the replay differs from the recording: " + run.trouble(), target,
          from);
    }
  }
}

std::vector<std::string> device_names(const RecordingReader& reader) {
  return Machine(inspectable_start_of(reader).machine).device_names();
}

}  // namespace chronovisor
