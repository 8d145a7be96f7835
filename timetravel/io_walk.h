// Owns the walk over the accesses of a recording's guest to its devices, which a replay
// makes again. Knows no format. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"
#include "vmm/machine/io_observer.h"

namespace chronovisor {

struct IoWalk {
  Position from;        ///< accesses from here on
  Position to{kNever};  ///< ... and before this
  CancelToken cancel{};
  std::function<void(Position)> progress{};  ///< may be empty
};

/// Shows the accesses in their order; `visit` ends the walk with false. The recording is
/// replayed from the checkpoint before. Throws DivergenceError, Error{bad_input}, and
/// Error{host} when cancelled.
void for_each_access(const RecordingReader& reader, const IoWalk& walk,
                     const std::function<bool(const IoAccess&)>& visit);

/// The names of the recorded machine's devices, as --device has them.
[[nodiscard]] std::vector<std::string> device_names(const RecordingReader& reader);

}  // namespace chronovisor
