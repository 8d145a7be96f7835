#include "cli/recorded_place.h"

#include <algorithm>

#include "base/error.h"
#include "host/host.h"

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

void require_bookmark_name(const std::string& name) {
  const bool empty = name.empty() || name.size() > kMaxTextBytes;
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (empty || control || name == "start" || name == "end" || name[0] == '+' || name[0] == '-' ||
      name.find_first_not_of("0123456789_,xX") == std::string::npos) {
    throw Error(ErrorCode::usage, "a bookmark cannot be called \"" + name +
                                      "\": that is empty, too long, or a position already");
  }
}

}  // namespace chronovisor::cli
