// Owns how a debugger's user goes live: the arguments of the command, the new
// recording and what the guest's serial line is connected to meanwhile. Knows no
// packet. The machine's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/allowed_files.h"
#include "host/disc_changer.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

inline constexpr std::string_view kGoLiveArguments =
    "FILE [--serial none|pty|file:PATH] [--idle warp|wait] [--force]";

struct GoLiveOptions {
  std::string file;
  std::string serial = "none";  ///< none, pty, file:PATH (output only)
  std::string idle;             ///< warp or wait; empty: wait with a pty
  bool force = false;
};
/// Throws Error{usage}.
[[nodiscard]] GoLiveOptions parse_go_live(const std::vector<std::string>& words);
/// Throws Error{usage} for a file that `files` does not let the user name.
[[nodiscard]] GoLiveOptions allowed(GoLiveOptions options, const AllowedFiles& files);

struct GoneLive {
  std::string file;      ///< the new recording, absolute
  std::string terminal;  ///< the pty to type into; empty: none
  /// Keeps the pty open: the last output is read when the run is over already.
  std::shared_ptr<void> line;
  /// Puts discs into drives, for as long as the branch is live; null: it has no drives.
  std::unique_ptr<DiscChanger> discs;
};

/// Makes `timeline` go on live from where it stands, recorded in a new file.
/// `cancelled` cuts idle waits short; `ended` is told, once, how the recording
/// ended. Throws Error: the timeline is then where it was.
GoneLive go_live(Timeline& timeline, const GoLiveOptions& options, std::function<bool()> cancelled,
                 std::function<void(const std::string&)> ended);

}  // namespace chronovisor::session
