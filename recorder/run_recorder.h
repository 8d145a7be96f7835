// Owns the recording of a live run: logs every input where the machine takes
// it, keeps console output, and takes checkpoints with digests at intervals.
// Knows no terminal. One thread, the machine's.
#pragma once

#include <cstdint>
#include <functional>

#include "recorder/recording_writer.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct RecorderOptions {
  std::uint64_t checkpoint_every_steps = 1ULL << 26;
  bool checkpoints = true;  ///< false: digests only, at the same positions
};

/// How a run that is being recorded ended.
struct RunOutcome {
  MachineStop stop = MachineStop::reached;
  Ending ending;
  Position position;
  Hash128 digest;
};

class RunRecorder final : private InputSource, private MachineObserver {
 public:
  /// @param live where inputs come from; @param output told of the console too, or null
  /// @param clock_ns monotonic host time for the writer's hold limit
  RunRecorder(Machine& machine, RecordingWriter& writer, InputSource& live,
              MachineObserver* output, std::function<std::uint64_t()> clock_ns,
              const RecorderOptions& options);
  ~RunRecorder() override;
  RunRecorder(const RunRecorder&) = delete;
  RunRecorder& operator=(const RunRecorder&) = delete;

  /// Runs until the guest ends, `limit` is reached, or the machine's cancel
  /// flag is set; the state there is recorded with its digest. `progress` is
  /// called about once a slice. Throws Error{host} when the recording cannot be
  /// written; the guest has not run on unrecorded.
  RunOutcome run(Position limit, const std::function<void(Position)>& progress);

 private:
  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, InputRoom room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  void serial_output(Position position, std::uint8_t byte) override;
  void debug_output(Position position, std::uint8_t byte) override;
  void checkpoint();
  void log(InputStamp here, const Input& input);

  Machine& machine_;
  RecordingWriter& writer_;
  InputSource& live_;
  MachineObserver* output_;
  std::function<std::uint64_t()> clock_ns_;
  RecorderOptions options_;
  Hash128 last_digest_;
};

}  // namespace chronovisor
