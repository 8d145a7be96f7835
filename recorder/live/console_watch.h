// Owns the recognition of a guest's last words: watches the lines of one
// console for the messages of a crashing kernel and names the place. Knows no
// file and no machine. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/units.h"
#include "recorder/format/records.h"

namespace chronovisor {

/// What a line of console output can say about the guest.
enum class CrashMessage : std::uint8_t { panic, oops, bug };
/// The name of its bookmark: "panic", "oops" or "bug".
[[nodiscard]] const char* crash_message_name(CrashMessage message);

class ConsoleWatch {
 public:
  /// Takes one byte of output.
  /// @return the message that this byte completes, at most one a line
  std::optional<CrashMessage> add(Position position, std::uint8_t byte);
  /// Where the first byte of the present line was written: the moment nearest
  /// to what the line reports.
  [[nodiscard]] Position line_start() const { return line_start_; }

 private:
  std::string line_;
  Position line_start_;
  bool found_ = false;
};

/// Gives the automatic bookmarks of a recording their names: "panic", then
/// "panic-2" and so on, up to a limit.
class CrashBookmarks {
 public:
  /// The bookmark for a message, or nothing when there are enough of its kind.
  std::optional<Bookmark> next(CrashMessage message, Position position);

 private:
  std::array<unsigned, 3> counts_{};
};

}  // namespace chronovisor
