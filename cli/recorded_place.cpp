#include "cli/recorded_place.h"

#include <algorithm>

#include "base/error.h"
#include "cli/host.h"

namespace chronovisor::cli {

Position recorded_place(const std::string& text, const RecordingReader& reader,
                        const std::string& option) {
  if (text == "start") return reader.start();
  if (text == "end") return reader.usable_to();
  for (const Bookmark& bookmark : reader.bookmarks()) {
    if (bookmark.name == text) return bookmark.position;
  }
  if (!text.empty() && text.find_first_not_of("0123456789abcdefABCDEFxX_,") != std::string::npos) {
    throw Error(ErrorCode::usage,
                option + ": there is no bookmark \"" + text + "\" in " + reader.name());
  }
  return {parse_number(text, option)};
}

}  // namespace chronovisor::cli
