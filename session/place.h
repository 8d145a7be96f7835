// Owns how a place of a recording is written, everywhere: in a debugger, on the
// command line, in a request. One grammar and one rule for what lies outside: it
// is an error that says where the recording ends. Any thread.
#pragma once

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
};

inline constexpr std::string_view kPlaceWords =
    "a position, start, end, +N, -N, packet:N or a bookmark";

/// Throws Error{usage}, beginning with `what`, for anything else than kPlaceWords,
/// and for a place outside the recording.
[[nodiscard]] Position parse_place(const std::string& text, const PlaceContext& context,
                                   const std::string& what);

/// parse_place for a command that stands nowhere. `option` begins its errors.
[[nodiscard]] Position recorded_place(const std::string& text, const RecordingReader& reader,
                                      const std::string& option);

/// Throws Error{usage}, saying why, when `name` cannot name a bookmark: it is empty,
/// too long, cannot be typed, or would be read as another place.
void require_bookmark_name(const std::string& name);

}  // namespace chronovisor
