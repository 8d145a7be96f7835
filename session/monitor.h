// Owns a session's answers to lines of words: what a debugger's `monitor` says.
// The thread that owns the session.
#pragma once

#include <string>
#include <string_view>

#include "base/cancel.h"
#include "session/debug_session.h"

namespace chronovisor::session {

/// The answer to `line` as text. A line that begins with the word `json` is answered
/// with one JSON document on one line, errors included; other errors are thrown.
[[nodiscard]] std::string answer_line(DebugSession& session, std::string_view line,
                                      CancelToken cancel);

}  // namespace chronovisor::session
