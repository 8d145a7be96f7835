// Owns what a debugging session answers, as values, and the two forms that an
// answer takes at the edge: text for people, JSON for programs (docs/RSP.md lists
// the shapes). Knows no machine. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "inspect/linux/kernel.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/records.h"
#include "session/guest_dump.h"
#include "session/query_document.h"
#include "session/request.h"
#include "session/run_summary.h"
#include "vmm/machine/machine.h"

namespace chronovisor::session {

struct HelpAnswer {
  struct Row {
    std::string usage;
    std::string help;
  };
  std::vector<Row> rows;
};

enum class Whereabouts : std::uint8_t { timeline, branch, live };

struct WhenAnswer {
  Moment moment;
  Position start;
  Position end;
  std::uint64_t virtual_ns = 0;
  std::string mode;  ///< "64-bit", "real mode"
  unsigned cpl = 0;
  bool halted = false;
  Whereabouts whereabouts = Whereabouts::timeline;
  std::string live_file;             ///< where a live branch is recorded
  std::optional<RecordedEnd> ended;  ///< how the guest ended here, if it did
};

struct InfoAnswer {
  struct Parent {
    std::string name;
    Position position;
    bool changed_by_hand = false;
  };
  std::string file;
  std::uint64_t file_bytes = 0;
  std::string created_utc;
  std::string host;
  std::string kernel;
  std::string command_line;
  std::uint64_t memory_bytes = 0;
  std::string engine;
  std::optional<Parent> parent;
  Position start;
  Position end;
  std::uint64_t checkpoints = 0;
  std::uint64_t cache_bytes = 0;
  std::uint64_t inputs = 0;
  std::optional<RecordedEnd> ended;  ///< nothing: the recorder was killed
  std::vector<std::string> damage;
};

struct StripAnswer {
  std::string strip;         ///< '+' where checkpoints are
  std::string marks;         ///< 'i' input, 'b' bookmark, '.' console
  std::uint64_t column = 0;  ///< where the machine is
  Position here;
  Position start;
  Position end;
  Whereabouts whereabouts = Whereabouts::timeline;
};

/// The next resume goes there.
struct ArmedAnswer {
  Position position;
};

struct BookmarksAnswer {
  std::vector<Bookmark> bookmarks;
};
struct BookmarkSetAnswer {
  Bookmark bookmark;
  std::string file;     ///< in which it is kept; empty: only until the session ends
  std::string trouble;  ///< why it is not in the file
  bool live = false;    ///< in the recording being made
};
struct BookmarkDeletedAnswer {
  std::string name;
  std::string trouble;  ///< why it is still in the file
};

struct EventsAnswer {
  struct Event {
    Moment moment;
    std::string text;
  };
  std::vector<Event> before;  ///< the nearest of those before here, in order
  std::vector<Event> after;
  std::uint64_t earlier = 0;  ///< further ones within the span
  std::uint64_t later = 0;
  Position here;
};

struct PacketAnswer {
  PacketPlace place;  ///< armed
  std::string text;   ///< who to whom
  Bytes bytes;        ///< none of one that went where the recording ends
};

/// A store into watched memory; the machine stood on its instruction.
struct Store {
  Moment moment;
  std::uint64_t pc = 0;
  std::uint64_t first_byte = 0;
  std::string before;
  std::string after;
  std::string device{};  ///< that wrote by DMA; empty: the processor did
  DeviceRequest request{};
  std::optional<std::uint64_t> packet{};  ///< whose bytes the device wrote
};
struct LastWriteAnswer {
  std::uint64_t address = 0;
  Position before;  ///< where the search began
  Store store;      ///< and its place is armed
};
struct HistoryAnswer {
  std::uint64_t address = 0;
  std::vector<Store> stores;
  bool complete = true;  ///< false: interrupted, or there are more than were asked for
  std::uint64_t asked = 0;
  Position before;
};

/// What was looked for, and armed as destination.
struct FoundAnswer {
  Moment moment;
  std::uint64_t pc = 0;
  std::uint64_t address = 0;  ///< the first byte written, or the instruction
  Direction direction = Direction::forward;
};
struct StepAnswer {
  Moment moment;  ///< armed
  std::uint64_t asked = 0;
  std::uint64_t taken = 0;  ///< fewer where the recording ends
  Direction direction = Direction::forward;
};
struct AddressSpaceAnswer {
  std::optional<std::uint64_t> chosen;
  std::uint64_t here = 0;
};
struct AddressAnswer {
  AddressRequest request;
  std::optional<std::uint64_t> physical;  ///< nothing: not mapped
  enum class Kind : std::uint8_t { memory, device, none };
  Kind kind = Kind::none;  ///< what is at the physical address
};
struct ExamineAnswer {
  ExamineRequest request;
  std::vector<std::uint64_t> values;
  std::optional<std::uint64_t> unreadable;  ///< the address that cannot be read
};

struct BranchAnswer {
  Position position;
  bool already = false;
};
struct DiscardAnswer {
  Position position;
  std::string live_report;  ///< how the recording of a live branch ended; else empty
};
struct LiveAnswer {
  Position position;
  std::string file;
  std::string terminal;  ///< empty: the guest gets no input
};
/// The guest is told where it goes on.
struct MediumAnswer {
  std::string drive;
  std::string file;  ///< empty: taken out
};
struct SettingAnswer {
  std::string name;
  bool on = false;
  std::string meaning;
};

struct TranslateAnswer {
  std::uint64_t address = 0;
  std::optional<std::uint64_t> physical;
};
struct PixelAnswer {
  std::uint64_t x = 0;
  std::uint64_t y = 0;
  std::string color;          ///< "#rrggbb"
  std::uint64_t address = 0;  ///< physical
  std::uint64_t length_bytes = 0;
};
struct WalkAnswer {
  struct Entry {
    std::string level;
    std::uint64_t index = 0;
    std::uint64_t place = 0;   ///< physical
    bool in_register = false;  ///< of PAE: `place` is where CR3 got it from
    std::uint64_t value = 0;
    std::string flags;
  };
  bool paging = true;
  std::uint64_t cr3 = 0;
  std::vector<Entry> entries;
  TranslateAnswer result;
  std::string trouble;  ///< why it is not mapped; else empty
};
struct DisassembleAnswer {
  struct Line {
    std::uint64_t address = 0;
    std::string text;  ///< empty: not mapped
    bool here = false;
  };
  std::vector<Line> lines;
};

/// Which program answers.
struct VersionAnswer {
  std::string version;
};
struct LinuxKernelAnswer {
  std::string version;
  std::uint64_t text = 0;  ///< of _text
};
struct LinuxLogAnswer {
  std::vector<linux_guest::LogLine> lines;
};
struct LinuxTasksAnswer {
  std::vector<linux_guest::Task> tasks;
};
struct LinuxModulesAnswer {
  struct Module {
    std::string name;
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    std::uint64_t symbols = 0;
  };
  std::vector<Module> modules;
};

using Answer =
    std::variant<HelpAnswer, WhenAnswer, InfoAnswer, StripAnswer, ArmedAnswer, BookmarksAnswer,
                 BookmarkSetAnswer, BookmarkDeletedAnswer, EventsAnswer, PacketAnswer,
                 LastWriteAnswer, HistoryAnswer, FoundAnswer, QueryDocument, StepAnswer,
                 AddressSpaceAnswer, CpuDump, std::vector<MappedRange>, std::vector<MappedPage>,
                 LapicDump, PicDump, VersionAnswer, AddressAnswer, ExamineAnswer, BranchAnswer,
                 DiscardAnswer, LiveAnswer, MediumAnswer, SettingAnswer, TranslateAnswer,
                 WalkAnswer, DisassembleAnswer, PixelAnswer, LinuxKernelAnswer, LinuxLogAnswer,
                 LinuxTasksAnswer, LinuxModulesAnswer>;

/// What was looked for is not there; nothing has moved.
class NotFound : public Error {
 public:
  explicit NotFound(const std::string& message) : Error(ErrorCode::usage, message) {}
};

/// For people; ends in a newline unless empty.
[[nodiscard]] std::string text_of(const Answer& answer);
/// One JSON document on one line, without a newline. Addresses and other 64-bit
/// numbers that are no counts are strings, "0x1f"; positions are numbers.
[[nodiscard]] std::string json_of(const Answer& answer);
/// The document for an answer that there is not: {"error": {"code": ..., "message": ...}}.
/// The codes: usage, not-found, bad-input, divergence, host.
[[nodiscard]] std::string json_of_error(const Error& error);

}  // namespace chronovisor::session
