// Owns what viewers see of a machine that runs: the VNC server of a run or a replay, if one
// was asked for. Main thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "host/display/vnc_server.h"
#include "vmm/machine/machine.h"

namespace chronovisor::cli {

class Command;

struct DisplayOptions {
  std::string place;          ///< empty: nobody looks
  std::string password_file;  ///< empty: viewers need no password
  bool allow_remote = false;
};
void add_display_options(Command& command, DisplayOptions& options);

class LiveDisplay {
 public:
  /// Listens where the options say. Throws Error{usage} for what
  /// is no such place, or for a machine without a screen; Error{host}.
  /// @param inbox where what they type goes; null: nowhere
  LiveDisplay(const DisplayOptions& options, const Machine& machine, Inbox* inbox);

  /// Shows the screen as it is, if somebody looks and it is time.
  void refresh();
  /// As refresh(), and waits until the clock has gone on as far as virtual time has since
  /// the beginning and will have in `ahead_ns`, or `stop` says that it is enough.
  void keep_pace(const std::function<bool()>& stop, std::uint64_t ahead_ns = 0);

 private:
  const Machine& machine_;
  std::optional<VncServer> server_;
  std::uint64_t began_ns_ = 0;          ///< by the clock
  std::uint64_t began_virtual_ns_ = 0;  ///< and by the machine's
};

}  // namespace chronovisor::cli
