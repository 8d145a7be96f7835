// Owns the machine of a backup: put where the recording so far allows, run behind the primary
// with its digests compared, recorded as a recording of its own from there on, and, when its
// session is its own, run on live in the same recording. Knows no socket. The machine's thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/flight_recorder.h"
#include "recorder/live/run_recorder.h"
#include "replica/backup/backup_link.h"
#include "replica/backup/follow_input.h"

namespace chronovisor::replica {

class Follower {
 public:
  struct Parts {
    BackupLink& link;
    ReceivedLog& log;
    OutputGate& gate;
    BlockStore& blocks;
    std::atomic<bool>& stop;  ///< set when the machine is to stop
    CancelToken interrupted;  ///< by whoever runs the program
    /// See FollowInput::Calls.
    std::function<InputSource&()> go_live;
    /// A segment of a flight recording with so many bytes has ended where the machine is,
    /// and the next has begun.
    std::function<void(std::uint64_t ended_bytes)> segment_begun;
  };
  /// @param past the recording so far
  /// @param media where disks are read that nothing is recorded of; may be null
  /// @param recording the file to write
  /// @param keep how much of it is kept; nothing: all
  /// Throws Error{bad_input}, Error{host}.
  Follower(std::shared_ptr<const RecordingReader> past, std::shared_ptr<MediaSource> media,
           const std::string& recording, const std::optional<KeepPolicy>& keep, Parts parts);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  [[nodiscard]] Machine& machine() { return *machine_; }
  /// The one at work.
  [[nodiscard]] RecordingWriter& writer() { return flight_ ? flight_->writer() : *whole_; }
  /// Ends the recording.
  void finish(const std::string& summary_json);
  [[nodiscard]] Position start() const { return start_; }
  [[nodiscard]] bool is_live() const { return input_.is_live(); }
  /// The live source calls this while the machine waits, at least every 100 ms.
  void waiting();

  /// Runs until the guest ends, or there is nothing more to do. Throws Error{divergence} when
  /// the machine differs from the primary's, which has been told.
  RunOutcome run();

 private:
  void compare();
  void begin_recording(const std::string& path, const std::optional<KeepPolicy>& keep);
  [[nodiscard]] TapeCounter counter() const;

  std::shared_ptr<const RecordingReader> past_;
  Parts parts_;
  std::unique_ptr<Machine> machine_;
  Position start_;
  std::optional<FlightRecorder> flight_;
  std::unique_ptr<RecordingWriter> whole_;
  FollowInput input_;
  std::optional<RunRecorder> recorder_;
};

}  // namespace chronovisor::replica
