// Owns the change of a finished recording at its end: the footer is cut off,
// small records take its place, and a new footer follows. Those that edit one
// file take turns. Knows nothing of what is added. Any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor {

/// Checks, by `check`, and changes, by `change`, the whole recording at `path`.
/// A kill in between loses nothing that was in it. `refusal` says of a damaged
/// one what would help. Throws Error{bad_input} when it is not whole,
/// Error{host} when it cannot be written or somebody else keeps changing it,
/// and what `check` throws.
void edit_recording(const std::string& path, std::string_view refusal,
                    const std::function<void(const RecordingReader&)>& check,
                    const std::function<void(RecordingWriter&)>& change);

}  // namespace chronovisor
