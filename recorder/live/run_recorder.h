// Owns the recording of a live run: logs every input where the machine takes
// it, keeps console output, takes checkpoints with digests at intervals, and
// leaves bookmarks where the guest crashes. Knows no terminal. One thread, the
// machine's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "recorder/format/checkpoint_chain.h"
#include "recorder/format/interval_index.h"
#include "recorder/format/recording_writer.h"
#include "recorder/live/console_watch.h"
#include "recorder/live/port_log.h"
#include "recorder/live/segmented_tape.h"
#include "recorder/live/stuck_watch.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/port_observer.h"

namespace chronovisor {

/// What `RecorderOptions::checkpoint_every_ns` is unless the user says otherwise.
constexpr std::uint64_t kUsualCheckpointNs = 250'000'000;

/// Every how many checkpoints at the usual spacing one can be left for a seek to take some
/// `seek_ns`: a power of two.
[[nodiscard]] std::uint64_t thinned_within(std::uint64_t seek_ns);

/// A guest that gets nowhere for so many steps is said to be stuck.
constexpr std::uint64_t kUsualStuckSteps = 4'000'000'000;

struct RecorderOptions {
  std::uint64_t checkpoint_every_steps = 1ULL << 26;
  /// Checkpoints between those, where so much host time has passed since the
  /// last one (but 4 Mi steps at least): some code takes three times as long a
  /// step, and a replay of it as well. 0: none.
  std::uint64_t checkpoint_every_ns = 0;
  bool checkpoints = true;  ///< false: digests only, at the same positions
  /// The most of the run's time that checkpoints may take, in percent, after a
  /// grace of 300 ms. One that would come too early by this is left out (its
  /// digest is not, and is not counted), but never two in a row; 0 is no limit.
  double checkpoint_budget_percent = 4;
  /// The recording begins with a checkpoint even at position 0, and even without
  /// `checkpoints`: the machine is not as its images make it.
  bool begin_with_checkpoint = false;
  /// What is read of disks is kept; otherwise only which blocks could not be read, since
  /// the recording refers to the images.
  bool keep_blocks = true;
  /// Places checkpoints by what it takes to go on from them, so that a seek takes some `ns`.
  void follow_seek_time(std::uint64_t ns);
  /// Gather the interval index, an interval from checkpoint to checkpoint.
  bool index = true;
  /// When run() says that a guest is stuck; 0: never.
  std::uint64_t stuck_after_steps = kUsualStuckSteps;
  /// Told of it, once a stretch without progress; true ends the run. May be empty.
  std::function<bool(const StuckGuest&)> stuck{};
  /// Told when a segment of a recording has begun, on arrival where the one before
  /// has ended. May be empty.
  std::function<void()> segment_begun{};
  /// Ends the run when it becomes true; may be null.
  CancelToken cancel{};
  /// Who cancels a run within a position has it end at the next one, which a replay can be
  /// compared with; not where others rely on its doing nothing more.
  bool ends_on_arrival = true;
};

/// How a run that is being recorded ended.
struct RunOutcome {
  MachineStop stop = MachineStop::reached;
  Ending ending;
  Position position;
  std::uint64_t idle_ns = 0;  ///< waited in all
  Hash128 digest;
  bool panicked = false;              ///< a kernel said on the console that it did
  bool interrupts_enabled = false;    ///< IF
  bool ended_as_stuck = false;        ///< because RecorderOptions::stuck said so
  std::optional<StuckGuest> stuck;    ///< it made no progress to the end
  std::vector<PortWrite> last_ports;  ///< the latest first, each port once
};

/// Where a run's host time went, in ns.
struct RecorderCosts {
  std::uint64_t run_ns = 0;         ///< the whole of run()
  std::uint64_t checkpoint_ns = 0;  ///< of it, taking checkpoints and digests
  /// Of that, the digests of the positions that the spacing says, which are taken with a
  /// checkpoint there and without.
  std::uint64_t digest_ns = 0;
};

class RunRecorder final : private InputSource,
                          private OutputObserver,
                          private PortObserver,
                          private MediaObserver {
 public:
  /// @param live where inputs come from; @param output told of outputs too, or null
  /// @param clock_ns monotonic host time for the writer's hold limit
  RunRecorder(Machine& machine, RecordingWriter& writer, InputSource& live, OutputObserver* output,
              std::function<std::uint64_t()> clock_ns, const RecorderOptions& options);
  /// Records into the segments of `tape`, which decides when the next begins.
  RunRecorder(Machine& machine, SegmentedTape& tape, InputSource& live, OutputObserver* output,
              std::function<std::uint64_t()> clock_ns, const RecorderOptions& options);
  ~RunRecorder() override;
  RunRecorder(const RunRecorder&) = delete;
  RunRecorder& operator=(const RunRecorder&) = delete;

  /// Runs until the guest ends, `limit` is reached, or `cancel` is set; the
  /// state there is recorded with its digest. `progress` is called about once a
  /// slice. Throws Error{host} when the recording cannot be written; the guest
  /// has not run on unrecorded.
  RunOutcome run(Position limit, const std::function<void(Position)>& progress);
  /// The live source calls this while the machine waits, at least every 100 ms:
  /// what is held back is due all the same. Throws as run() does.
  void waiting() { writer_->tick(clock_ns_()); }

  /// The same for a machine that somebody else runs, in pieces of any length.
  /// begin() comes first, on arrival at the position where the recording starts.
  void begin();
  /// The machine must not be run past this before stopped() is called.
  [[nodiscard]] Position next_stop() const;
  /// The machine stopped somewhere; takes a checkpoint when one is due. Throws
  /// Error{host} when the recording cannot be written.
  void stopped();
  /// Records the state in which the run ends. Throws Error{host}.
  RunOutcome end(MachineStop stop);
  /// Leaves a bookmark where the machine is.
  void bookmark(const std::string& name);

  [[nodiscard]] const RecorderCosts& costs() const { return costs_; }

 private:
  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  void output(Position position, const Output& output) override;
  void port_was_read(Position position, std::uint16_t port) override;
  void port_was_written(Position position, std::uint16_t port, unsigned width,
                        std::uint32_t value) override;
  void block_read(std::uint32_t medium, std::uint64_t block,
                  std::optional<ByteView> content) override;
  void console(Position position, ConsoleChannel channel, std::uint8_t byte);
  void arrived(Position here);
  void checkpoint();
  void checkpoint_if_due(Position here);
  [[nodiscard]] bool overdue(Position here) const;
  void close_interval(Position here);
  void write_checkpoint(Position here);
  void digest_only(Position here);
  void take_digest(Position here);
  [[nodiscard]] bool within_budget() const;
  [[nodiscard]] TapeCounter counter() const;
  [[nodiscard]] bool cancelled() const;
  MachineStop run_to(Position target);
  [[nodiscard]] bool ends_as_stuck(Position limit);
  void trace_loop(StuckGuest& guest, Position limit);
  void bookmark_ending(const RunOutcome& outcome);
  void log(InputStamp here, const Input& input);

  Machine& machine_;
  RecordingWriter* writer_;
  SegmentedTape* tape_ = nullptr;
  InputSource& live_;
  OutputObserver* output_;
  std::function<std::uint64_t()> clock_ns_;
  RecorderOptions options_;
  Hash128 last_digest_;
  ChangedPages changed_pages_;  ///< since earlier checkpoints
  AccessGatherer accesses_;
  std::optional<Position> interval_from_;
  std::uint64_t began_ns_ = 0;
  Position next_checkpoint_;
  Position last_checkpoint_;
  std::uint64_t last_checkpoint_ns_ = 0;  ///< host time
  bool left_one_out_ = false;             ///< never two in a row, or travel would find a gap
  /// Inputs at this stamp have been asked for until there was none.
  std::optional<InputStamp> asked_;
  /// The machine comes back soon: cancelled, or a segment is full.
  std::atomic<bool> pause_{false};
  std::array<ConsoleWatch, kConsoleChannels> watches_;
  CrashBookmarks crashes_;
  StuckWatch stuck_watch_;
  std::optional<StuckGuest> stuck_;
  bool stuck_marked_ = false;
  std::optional<std::uint16_t> port_read_;  ///< the last one
  PortLog ports_;
  RecorderCosts costs_;
};

}  // namespace chronovisor
