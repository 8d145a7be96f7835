// Owns how the end of a run is put into words: for the summary in its recording,
// and for people. Any thread.
#pragma once

#include <optional>
#include <string>

#include "recorder/format/recording_reader.h"
#include "recorder/live/run_recorder.h"
#include "timetravel/verify.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// How a run ended, in one word: "poweroff", "limit", "interrupted", "stuck".
[[nodiscard]] std::string exit_reason(const RunOutcome& outcome, Position limit);
/// The summary of a recording, JSON; `seconds` of host time.
[[nodiscard]] std::string run_summary(const RunOutcome& outcome, Position start, Position limit,
                                      double seconds, const Machine& machine);

/// What a recording says of its own end.
struct RecordedEnd {
  std::string reason;  ///< a word of exit_reason()
  std::uint32_t code = 0;
  std::uint16_t port = 0;  ///< whose write ended the guest; 0: no port did
  /// The guest brought it about; otherwise the recorder stopped before.
  bool by_guest = false;
  /// In which the machine was; recordings of earlier releases do not say.
  std::optional<RecordedEndState> state{};
};
/// Nothing when the recorder was killed, or the summary is not one of ours.
[[nodiscard]] std::optional<RecordedEnd> recorded_end(const RecordingReader& reader);
/// "debug-exit with code 3 by port 0x501"; for people.
[[nodiscard]] std::string ending_words(const RecordedEnd& end);
/// "the guest ended here: triple-fault"
[[nodiscard]] std::string ending_text(const RecordedEnd& end);

}  // namespace chronovisor
