// Owns what a debugging session can be asked, as values: whoever speaks to a
// session (a debugger's monitor, the command line, later the web) makes one of
// these, and gets one of the values of session/answer.h. Knows no words and no
// protocol. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "session/go_live.h"

namespace chronovisor::session {

struct HelpRequest {};
/// Where the machine is.
struct WhenRequest {};
/// What was recorded.
struct InfoRequest {};
/// Where the recording's checkpoints, output, inputs and bookmarks are, in columns.
struct StripRequest {
  std::uint64_t columns = 64;
};
/// Arms a destination: a place as parse_place takes it.
struct SeekRequest {
  std::string place;
};
struct ListBookmarksRequest {};
struct SetBookmarkRequest {
  std::string name;
  bool move = false;  ///< the name may exist: it is taken here
};
struct DeleteBookmarkRequest {
  std::string name;
};
/// Inputs, interrupts and exceptions within `span` steps of here.
struct EventsRequest {
  std::uint64_t span = 1'000'000;
};
/// The latest write of a range; arms its place.
struct LastWriteRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
};
/// The latest writes of a range, the latest first.
struct HistoryRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  std::uint64_t count = 10;
};
struct BranchRequest {};
struct DiscardRequest {};
struct GoLiveRequest {
  GoLiveOptions options;
};
enum class Setting : std::uint8_t { skip_interrupts, linear_pc, physical_memory };
struct SettingRequest {
  Setting setting = Setting::skip_interrupts;
  bool on = true;
};
struct TranslateRequest {
  std::uint64_t address = 0;
};
struct WalkRequest {
  std::uint64_t address = 0;
};
struct DisassembleRequest {
  std::optional<std::uint64_t> address;  ///< nothing: where the machine is
  std::uint64_t count = 10;
};
struct LinuxKernelRequest {};
struct LinuxLogRequest {};
struct LinuxTasksRequest {};
struct LinuxModulesRequest {};

using Request =
    std::variant<HelpRequest, WhenRequest, InfoRequest, StripRequest, SeekRequest,
                 ListBookmarksRequest, SetBookmarkRequest, DeleteBookmarkRequest, EventsRequest,
                 LastWriteRequest, HistoryRequest, BranchRequest, DiscardRequest, GoLiveRequest,
                 SettingRequest, TranslateRequest, WalkRequest, DisassembleRequest,
                 LinuxKernelRequest, LinuxLogRequest, LinuxTasksRequest, LinuxModulesRequest>;

}  // namespace chronovisor::session
