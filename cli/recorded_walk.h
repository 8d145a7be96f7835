// Owns how the questions that replay a stretch set out: from where to where, with their
// progress on the terminal, until a signal to stop. Main thread.
#pragma once

#include <string>

#include "cli/long_run.h"
#include "cli/recorded_range.h"
#include "host/host.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor::cli {

/// A walk of timetravel's over the stretch that --from and --to name. What it is given must
/// outlive it. Throws Error{usage}.
template <typename Walk>
[[nodiscard]] Walk recorded_walk(const std::string& from, const std::string& to,
                                 const RecordingReader& reader, Progress& progress) {
  watch_stop_signals();
  Walk walk;
  walk.from = covered_place(from, reader, "--from");
  if (to != "end") walk.to = covered_place(to, reader, "--to");
  walk.cancel = stop_signal();
  walk.progress = [&reader, &progress](Position here) {
    progress.show(progress_text("replaying", here.steps, reader.usable_to().steps));
  };
  return walk;
}

}  // namespace chronovisor::cli
