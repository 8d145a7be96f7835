// Owns the straight replay of a recording, from its start or a checkpoint, with
// every recorded digest compared. Knows no terminal. A ReplayRun belongs to one
// thread; several may read one recording.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "recorder/live/replay_input.h"
#include "timetravel/frame_check.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// For tests: a change made to the machine on arrival at a position, behind
/// the replay's back.
struct Tamper {
  Position at;
  std::function<void(Machine&)> change;
};

struct ReplayOptions {
  /// Begin at the last checkpoint at or before this position; nothing: boot
  /// from the images, without using any checkpoint.
  std::optional<Position> from{};
  Position to{kNever};
  bool verify = true;
  OutputObserver* observer = nullptr;
  CancelToken cancel{};
  std::optional<Tamper> tamper{};
  /// Called with the machine before it runs: to give it another engine.
  std::function<void(Machine&)> prepare{};
  /// Called before an idle wait passes, with its nanoseconds.
  std::function<void(std::uint64_t)> on_idle{};
};

struct ReplayOutcome {
  Position position;
  Hash128 digest;
  std::uint64_t digests_checked = 0;
  bool interrupted = false;  ///< cancelled before its end
};

/// A replay that differs from its recording: where it was noticed, and how the
/// replay had begun, so that it can be explained. See explain_divergence().
class DivergenceError : public Error {
 public:
  DivergenceError(const std::string& message, Position position, std::optional<Position> from)
      : Error(ErrorCode::divergence, message), position_(position), from_(from) {}
  [[nodiscard]] Position position() const { return position_; }
  [[nodiscard]] const std::optional<Position>& from() const { return from_; }

 private:
  Position position_;
  std::optional<Position> from_;
};

/// Every digest of a recording by position, those of checkpoints included.
/// Throws Error{bad_input}.
[[nodiscard]] std::map<Position, Hash128> recorded_digests(const RecordingReader& reader);

/// A machine fed with the inputs of a recording.
class ReplayRun {
 public:
  enum class Arrival {
    arrived,
    ended,        ///< the guest ended before
    off_track,    ///< a recorded input could not be delivered where it was taken
    interrupted,  ///< cancelled
  };

  /// Puts a machine at the start, or at the last checkpoint at or before
  /// `from`. The reader must outlive this. Throws Error{bad_input}.
  ReplayRun(const RecordingReader& reader, std::optional<Position> from,
            std::optional<Tamper> tamper = std::nullopt);
  ReplayRun(const ReplayRun&) = delete;
  ReplayRun& operator=(const ReplayRun&) = delete;

  /// Puts the machine at the last checkpoint at or before `from`, wherever it is; what the
  /// machine has already, translated code included, is kept. Throws Error{bad_input}.
  void restart(Position from, std::optional<Tamper> tamper = std::nullopt);
  /// Called before an idle wait passes, with its nanoseconds. May be empty.
  void set_on_idle(std::function<void(std::uint64_t)> on_idle) {
    input_.set_on_idle(std::move(on_idle));
  }
  /// Runs on to the arrival at `target`.
  Arrival run_to(Position target, CancelToken cancel = {});
  /// Runs on to the state in which the recorder stopped, where that is within the recording's
  /// last position: the guest has ended there, or waits and has waited `idle_ns` in all.
  /// @return `ended`, if it came to such a state
  Arrival run_out(std::uint64_t idle_ns, CancelToken cancel = {});
  [[nodiscard]] Machine& machine() { return *machine_; }
  /// Hands the machine over, without input; this must not be used any more.
  [[nodiscard]] std::unique_ptr<Machine> take_machine();
  [[nodiscard]] Position position() const { return machine_->position(); }
  /// Why the run did not arrive, for people.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  Arrival run_machine(Position target, CancelToken cancel);
  void begin_here(std::optional<Tamper> tamper);
  void tamper_here();

  const RecordingReader& reader_;
  ReplayInput input_;
  std::unique_ptr<Machine> machine_;
  std::optional<FrameCheck> frames_;  ///< where the recording has frames
  std::optional<Tamper> tamper_;
  std::string trouble_;
};

/// Throws DivergenceError at the first digest that differs, Error{bad_input}
/// when the recording cannot be used.
ReplayOutcome replay_recording(const RecordingReader& reader, const ReplayOptions& options,
                               const std::function<void(Position)>& progress);

/// The machine on arrival at `position` (which the recording covers), reached
/// from the nearest checkpoint, with the digests on the way compared. Throws as
/// replay_recording does, and Error{host} when cancelled.
[[nodiscard]] std::unique_ptr<Machine> machine_at(const RecordingReader& reader, Position position,
                                                  CancelToken cancel,
                                                  const std::function<void(Position)>& progress);

}  // namespace chronovisor
