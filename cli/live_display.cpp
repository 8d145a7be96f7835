#include "cli/live_display.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include "base/error.h"
#include "cli/parser.h"
#include "host/host.h"
#include "inspect/export/screen.h"
#include "recorder/format/file.h"
#include "vmm/devices/virtio/virtio_tablet.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kMostPasswordBytes = 64 << 10;

/// The first line of a file.
std::string password_of(const std::string& file) {
  if (file.empty()) return {};
  const Bytes bytes = read_whole_file(file, kMostPasswordBytes);
  std::string line(bytes.begin(), bytes.end());
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.empty()) throw Error(ErrorCode::usage, "--display-password " + file + ": is empty");
  return line;
}

}  // namespace

void add_display_options(Command& command, DisplayOptions& options) {
  command
      .add_option("--display", options.place,
                  "Show the screen to VNC viewers, and take what they type and click while a guest "
                  "runs live: display N is TCP port 5900 + N")
      .type_name("vnc=ADDRESS:DISPLAY");
  command
      .add_option("--display-password", options.password_file,
                  "What viewers must know: the first line of this file, up to 8 bytes")
      .type_name("FILE");
  command.add_flag("--allow-remote", options.allow_remote,
                   "Let viewers of other hosts connect; they need the password");
}

LiveDisplay::LiveDisplay(const DisplayOptions& options, const Machine& machine, Inbox* inbox)
    : machine_(machine), began_ns_(monotonic_ns()), began_virtual_ns_(machine.now().ns) {
  if (options.place.empty()) {
    if (!options.password_file.empty()) {
      throw Error(ErrorCode::usage, "--display-password goes with --display");
    }
    return;
  }
  const VncOptions place =
      vnc_place(options.place, password_of(options.password_file), options.allow_remote);
  if (!screen_of(machine)) {
    throw Error(ErrorCode::usage, "--display: a machine of the model " + machine.config().model +
                                      " has no screen; --machine pc-2 has one");
  }
  server_.emplace(place, inbox);
  std::fprintf(stderr, "chronovisor: VNC viewers connect to %s:%u\n", place.address.c_str(),
               place.port);
}

void LiveDisplay::keep_pace(const std::function<bool()>& stop, std::uint64_t ahead_ns) {
  if (!server_) return;
  const std::uint64_t played_ns = machine_.now().ns - began_virtual_ns_ + ahead_ns;
  refresh();
  while (monotonic_ns() - began_ns_ < played_ns && !stop()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    refresh();
  }
}

void LiveDisplay::refresh() {
  if (!server_) return;
  const auto* const tablet = dynamic_cast<const VirtioTablet*>(machine_.device("tablet"));
  server_->point_by_place(tablet != nullptr && tablet->in_use());
  if (!server_->wants_picture()) return;
  if (auto picture = screen_of(machine_)) server_->show(std::move(*picture));
}

}  // namespace chronovisor::cli
