// Owns the recording of a run by an engine that counts instead of knowing
// positions: logs every input and every end of an idle wait at the place where
// it happened. Knows no terminal. One thread, the machine's.
#pragma once

#include <atomic>

#include "base/cancel.h"
#include "recorder/format/recording_writer.h"
#include "vmm/engine/kvm/counted_engine.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

struct CountedRecorderOptions {
  /// Ends the run when it becomes true, at the next place that can be recorded;
  /// may be null.
  CancelToken cancel{};
};

class CountedRecorder final : private InputSource {
 public:
  /// @param engine the one that `machine` has
  /// @param live where inputs come from; asked wherever an event can be recorded.
  /// The positions in what it is asked with mean nothing.
  /// Throws Error{usage} unless the machine's clock is moved by inputs alone.
  CountedRecorder(Machine& machine, kvm::CountedEngine& engine, RecordingWriter& writer,
                  InputSource& live, const CountedRecorderOptions& options);
  ~CountedRecorder() override;
  CountedRecorder(const CountedRecorder&) = delete;
  CountedRecorder& operator=(const CountedRecorder&) = delete;

  /// Runs until the guest ends, the live source stops it or `cancel` is set, and
  /// logs that the run ends there. Throws Error{host} when the recording cannot be
  /// written.
  MachineStop run();
  [[nodiscard]] std::uint64_t events() const { return events_; }

 private:
  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  void log(std::uint64_t idle_ns, const Input& input);
  void log_end();

  Machine& machine_;
  kvm::CountedEngine& engine_;
  RecordingWriter& writer_;
  InputSource& live_;
  CountedRecorderOptions options_;
  std::uint64_t events_ = 0;
  bool ended_ = false;              ///< the end is in the log
  std::atomic<bool> pause_{false};  ///< the machine comes back
};

}  // namespace chronovisor
