// Owns how a place of a recording is written, everywhere: in a debugger, on the
// command line, in a request. One grammar and one rule for what lies outside: it
// is an error that says where the recording ends. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// What the words of a place mean.
struct PlaceContext {
  Position start;
  Position end;
  /// Where +N and -N count from; where nobody stands anywhere, +N counts from the
  /// start and -N back from the end.
  std::optional<Position> here;
  std::vector<Bookmark> bookmarks;
  /// Whose packets packet:N means; null: there are none.
  const RecordingReader* packets = nullptr;
  /// Where the guest's function of this name was entered last; nothing: it has none. Asked
  /// for function:NAME, and for what is no other place. Empty: functions are no places here.
  std::function<std::optional<Position>(const std::string& name)> functions{};
};

inline constexpr std::string_view kPlaceWords =
    "a position, start, end, +N, -N, packet:N, a bookmark or a function";

/// Throws Error{usage}, beginning with `what`, for anything else than kPlaceWords,
/// and for a place outside the recording.
[[nodiscard]] Position parse_place(const std::string& text, const PlaceContext& context,
                                   const std::string& what);

/// parse_place for a command that stands nowhere. `option` begins its errors. Functions are
/// those of the guest's kernel or own ELF file, and of `symbol_files`; looking for one runs
/// a machine until a stop signal.
[[nodiscard]] Position recorded_place(const std::string& text, const RecordingReader& reader,
                                      const std::string& option,
                                      const std::vector<std::string>& symbol_files = {});

/// Throws Error{usage}, saying why, when `name` cannot name a bookmark: it is empty,
/// too long, cannot be typed, or would be read as another place.
void require_bookmark_name(const std::string& name);

}  // namespace chronovisor
