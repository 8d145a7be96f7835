// Owns what the commands that replay for a while share: the line of progress,
// and explaining a divergence under it. Main thread.
#pragma once

#include <string>

#include "base/cancel.h"
#include "timetravel/divergence.h"
#include "timetravel/replay.h"

namespace chronovisor::cli {

/// "verifying: 40%, 26,843,545 of 67,108,864 steps"
[[nodiscard]] std::string progress_text(const char* what, std::uint64_t done, std::uint64_t total);

/// explain_divergence for the replay that failed with `error`, made as `how`
/// says but for where it began. Throws as that does.
[[nodiscard]] Divergence explain_with_progress(const RecordingReader& reader, ReplayOptions how,
                                               const DivergenceError& error, CancelToken cancel);

}  // namespace chronovisor::cli
