// Owns the replication of a run from the command line: its options, and what stands between a
// run that is recorded and the outside while it has, or looks for, a backup. Main thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "recorder/format/recording_writer.h"
#include "replica/primary/gated_input.h"
#include "replica/primary/primary.h"
#include "replica/transport/control.h"

namespace chronovisor::cli {

class Command;

/// What both ends are told.
struct PeerOptions {
  std::string psk_file;
  std::string arbiter;
  std::string control;
};
void add_peer_options(Command& command, PeerOptions& options);

struct ReplicationOptions {
  std::vector<std::string> backups;
  PeerOptions peer;
  [[nodiscard]] bool wanted() const { return !backups.empty(); }
};
void add_replication_options(Command& command, ReplicationOptions& options);

/// Throws Error{usage} for options that contradict each other.
void require_sound(const ReplicationOptions& options);

/// A primary at work. Made when the recording has begun.
class Replication {
 public:
  /// @param stop set when the machine must not run on
  Replication(const ReplicationOptions& options, const std::string& recording,
              replica::OutputGate& gate, InputSource& beside,
              std::function<RecordingWriter&()> writer, std::atomic<bool>& stop);

  [[nodiscard]] InputSource& input() { return input_; }
  [[nodiscard]] replica::Primary& primary() { return primary_; }
  /// The machine waits.
  void waiting() { input_.waiting(); }
  /// A segment of the recording with so many bytes has ended here, and the next begun.
  void segment_begun(InputStamp here, std::uint64_t ended_bytes) {
    primary_.segment_begun(here.position, here.idle_ns, ended_bytes);
  }
  /// The run has ended here; waits until what it put out has left.
  void ended(InputStamp here, bool guest_ended) { input_.ended(here, guest_ended); }
  /// How it went, JSON for the summary, and for whoever asks at the control socket.
  [[nodiscard]] std::string status() const;
  [[nodiscard]] bool handed_over() const { return input_.handed_over(); }
  [[nodiscard]] bool lost() const { return primary_.must_stop() && !handed_over(); }
  /// What a word at a control socket is answered.
  [[nodiscard]] std::string answer(const std::string& word);

 private:
  replica::Primary primary_;
  replica::GatedInput input_;
};

}  // namespace chronovisor::cli
