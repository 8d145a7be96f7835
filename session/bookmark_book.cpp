#include "session/bookmark_book.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "recorder/edit/bookmark_edit.h"
#include "session/near_names.h"
#include "session/place.h"

namespace chronovisor::session {

std::vector<Bookmark> BookmarkBook::all() const {
  std::vector<Bookmark> all = reader_.bookmarks();
  std::erase_if(all, [&](const Bookmark& mark) {
    return std::find(removed_.begin(), removed_.end(), mark.name) != removed_.end();
  });
  all.insert(all.end(), made_.begin(), made_.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
  return all;
}

void BookmarkBook::refuse_missing(const std::string& name) const {
  std::vector<std::string> names;
  for (const Bookmark& mark : all()) names.push_back(mark.name);
  throw Error(ErrorCode::usage,
              fmt::format("there is no bookmark {}{}", name,
                          names.empty() ? ", nor any other" : near_hint(name, names)));
}

BookmarkSetAnswer BookmarkBook::set(const std::string& name, Position position, bool move) {
  require_bookmark_name(name);
  const std::vector<Bookmark> present = all();
  const auto taken = std::find_if(present.begin(), present.end(),
                                  [&](const Bookmark& b) { return b.name == name; });
  if (taken == present.end() && move) refuse_missing(name);
  if (taken != present.end() && !move) {
    throw Error(ErrorCode::usage,
                fmt::format("{} is position {} already; bookmark --move {} takes it here", name,
                            grouped(taken->position.steps), name));
  }
  BookmarkSetAnswer answer{{position, name}, reader_.name(), {}, false};
  try {
    if (move) {
      move_bookmark(reader_.name(), answer.bookmark);
    } else {
      append_bookmark(reader_.name(), answer.bookmark);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage || unwritten_ == UnwrittenBookmarks::refused) throw;
    answer.file.clear();
    answer.trouble = error.what();
  }
  std::erase_if(made_, [&](const Bookmark& other) { return other.name == name; });
  removed_.push_back(name);  // whatever the recording had of that name when it was opened
  made_.push_back(answer.bookmark);
  return answer;
}

BookmarkDeletedAnswer BookmarkBook::remove(const std::string& name) {
  const std::vector<Bookmark> present = all();
  if (std::none_of(present.begin(), present.end(),
                   [&](const Bookmark& b) { return b.name == name; })) {
    refuse_missing(name);
  }
  BookmarkDeletedAnswer answer{name, {}};
  try {
    remove_bookmark(reader_.name(), name);
  } catch (const Error& error) {
    if (unwritten_ == UnwrittenBookmarks::refused) throw;
    // It was never in the file, or stays there.
    if (error.code() != ErrorCode::usage) answer.trouble = error.what();
  }
  std::erase_if(made_, [&](const Bookmark& other) { return other.name == name; });
  removed_.push_back(name);
  return answer;
}

}  // namespace chronovisor::session
