// Owns a branch that runs live: a machine that left its timeline, takes input
// from outside, and is recorded as a recording of its own, while a debugger runs
// it in pieces of any length. Knows no debugger and no terminal. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "recorder/format/recording_writer.h"
#include "recorder/live/run_recorder.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// What a live branch is made of.
struct LiveRun {
  /// Its start is where the machine is; metadata and images are written.
  std::unique_ptr<RecordingWriter> writer;
  std::unique_ptr<InputSource> input;
  std::unique_ptr<OutputObserver> output;  ///< may be null
  /// What its drives read from until it ends, and after that. Null: as before.
  std::shared_ptr<MediaSource> media{};
  std::shared_ptr<MediaSource> media_after{};
  std::function<std::uint64_t()> clock_ns;
  RecorderOptions recorder;
  /// The summary to end the recording with, JSON.
  std::function<std::string(const RunOutcome&)> summary;
  /// Told once that the recording has ended, and why it is not whole: empty when
  /// it is. Must not throw.
  std::function<void(const RunOutcome&, const std::string& trouble)> ended;
};

class LiveBranch {
 public:
  /// Records the state of `machine`, which must be on arrival at its position,
  /// as the beginning. The machine must outlive this. Throws Error{host}.
  LiveBranch(Machine& machine, LiveRun run);
  LiveBranch(const LiveBranch&) = delete;
  LiveBranch& operator=(const LiveBranch&) = delete;

  /// The machine must not be run past this before stopped() is called.
  [[nodiscard]] Position next_stop() const { return recorder_.next_stop(); }
  /// The machine was run and stopped. Throws Error{host} when the recording
  /// cannot be written; it then ends where it is.
  void stopped(MachineStop stop);
  /// The input calls this while the machine waits, at least every 100 ms: what
  /// is held back is due all the same. Throws Error{host}.
  void waiting() { recorder_.waiting(); }
  /// Puts everything recorded so far into the file, so that a kill of this
  /// program loses nothing. Throws Error{host}.
  void flush() { run_.writer->flush(); }
  /// Leaves a bookmark in the recording here. Throws Error{host}.
  void bookmark(const std::string& name) { recorder_.bookmark(name); }
  /// Ends the recording; the machine must not be run any more. Never throws:
  /// trouble goes to LiveRun::ended.
  void end() noexcept;

 private:
  Machine& machine_;
  LiveRun run_;
  RunRecorder recorder_;
  MachineStop last_stop_ = MachineStop::reached;
};

}  // namespace chronovisor
