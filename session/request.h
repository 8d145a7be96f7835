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
#include "timetravel/query.h"

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
/// A packet by its number; arms the place where it came or went.
struct PacketRequest {
  std::uint64_t number = 1;
};
/// The latest write of a range; arms its place.
struct LastWriteRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  bool physical = false;  ///< the address is one
};
/// The latest writes of a range, the latest first.
struct HistoryRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  std::uint64_t count = 10;
  bool physical = false;
};
enum class Direction : std::uint8_t { forward, backward };
/// The nearest write of a range for which a condition holds; arms its place: after
/// the write forward, on the writing instruction backward.
struct WatchRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  Direction direction = Direction::forward;
  std::string condition;  ///< as parse_condition takes it; empty: any
  bool physical = false;
};
/// The nearest arrival at an instruction; arms its place.
struct ReachedRequest {
  std::uint64_t address = 0;
  Direction direction = Direction::backward;
  std::string condition;
};
/// Who wrote, what ran, or what values a variable had, in a stretch of the whole
/// recording, wherever the machine stands. It stays there.
struct QueryRequest {
  Query query;
  unsigned jobs = 0;  ///< threads; 0: one a core
  bool use_index = true;
  std::optional<Shard> shard;  ///< nothing: all intervals
};
/// So many steps as InterruptStepping takes them, as one travel; arms its end. No
/// breakpoint stops it on the way.
struct StepRequest {
  std::uint64_t count = 1;
  Direction direction = Direction::forward;
};
/// Which address space breakpoints at user addresses count in.
struct AddressSpaceRequest {
  enum class Which : std::uint8_t { show, off, here, cr3 };
  Which which = Which::show;
  std::uint64_t cr3 = 0;
};
struct BranchRequest {};
struct DiscardRequest {};
struct GoLiveRequest {
  GoLiveOptions options;
};
/// Another disc in a drive of a live branch, or none.
struct ChangeMediumRequest {
  std::string drive;
  std::string file;    ///< empty: what is in it is taken out
  std::string format;  ///< empty: found out
  bool force = false;  ///< also when the guest has locked the tray
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
/// What QEMU's monitor shows by `info`. Linux's own lx- commands take a stub that
/// answers `info version` for one whose threads are processors.
struct DumpRequest {
  enum class What : std::uint8_t { registers, mem, tlb, lapic, pic, version };
  What what = What::registers;
};
/// Where an address leads, in the words of QEMU's monitor: scripts ask it to tell RAM
/// from devices, or to look for the guest's memory in QEMU's process.
struct AddressRequest {
  enum class What : std::uint8_t { gva2gpa, gpa2hva, gpa2hpa };
  What what = What::gva2gpa;
  std::uint64_t address = 0;
};
/// Memory in a format of QEMU's and gdb's.
struct ExamineRequest {
  bool physical = false;
  std::uint64_t address = 0;
  std::uint64_t count = 1;
  char format = 'x';     ///< x d u o c
  std::size_t size = 4;  ///< bytes each: 1, 2, 4, 8
};
/// A pixel of the screen: its colour, and where in memory it comes from.
struct PixelRequest {
  std::uint64_t x = 0;
  std::uint64_t y = 0;
};
struct LinuxKernelRequest {};
struct LinuxLogRequest {};
struct LinuxTasksRequest {};
struct LinuxModulesRequest {};

using Request =
    std::variant<HelpRequest, WhenRequest, InfoRequest, StripRequest, SeekRequest,
                 ListBookmarksRequest, SetBookmarkRequest, DeleteBookmarkRequest, EventsRequest,
                 PacketRequest, LastWriteRequest, HistoryRequest, WatchRequest, ReachedRequest,
                 QueryRequest, StepRequest, AddressSpaceRequest, DumpRequest, AddressRequest,
                 ExamineRequest, BranchRequest, DiscardRequest, GoLiveRequest, ChangeMediumRequest,
                 SettingRequest, TranslateRequest, WalkRequest, DisassembleRequest, PixelRequest,
                 LinuxKernelRequest, LinuxLogRequest, LinuxTasksRequest, LinuxModulesRequest>;

}  // namespace chronovisor::session
