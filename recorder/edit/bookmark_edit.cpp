#include "recorder/edit/bookmark_edit.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "recorder/edit/file_edit.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor {
namespace {

const Bookmark* find_bookmark(const std::vector<Bookmark>& all, const std::string& name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Bookmark& b) { return b.name == name; });
  return found == all.end() ? nullptr : &*found;
}

constexpr std::string_view kRefusal =
    "a bookmark is only added to a whole recording (chronovisor pack makes one)";

void edit(const std::string& path, const std::function<void(const RecordingReader&)>& check,
          const std::function<void(RecordingWriter&)>& change) {
  edit_recording(path, kRefusal, check, change);
}

void require_covered(const RecordingReader& reader, const Bookmark& bookmark) {
  if (bookmark.position >= reader.start() && bookmark.position <= reader.usable_to()) return;
  throw Error(ErrorCode::usage, reader.name() + ": position " + grouped(bookmark.position.steps) +
                                    " is outside the recording, which covers " +
                                    grouped(reader.start().steps) + " to " +
                                    grouped(reader.usable_to().steps));
}

}  // namespace

void append_bookmark(const std::string& path, const Bookmark& bookmark) {
  edit(
      path,
      [&](const RecordingReader& reader) {
        require_covered(reader, bookmark);
        const std::vector<Bookmark> all = reader.bookmarks();
        if (const Bookmark* there = find_bookmark(all, bookmark.name)) {
          throw Error(ErrorCode::usage, path + ": has a bookmark " + bookmark.name +
                                            " at position " + grouped(there->position.steps));
        }
      },
      [&](RecordingWriter& writer) { writer.bookmark(bookmark); });
}

void remove_bookmark(const std::string& path, const std::string& name) {
  edit(
      path,
      [&](const RecordingReader& reader) {
        const std::vector<Bookmark> all = reader.bookmarks();
        if (find_bookmark(all, name) == nullptr) {
          throw Error(ErrorCode::usage, path + ": has no bookmark \"" + name + "\"");
        }
      },
      [&](RecordingWriter& writer) { writer.remove_bookmark(name); });
}

void move_bookmark(const std::string& path, const Bookmark& bookmark) {
  edit(
      path, [&](const RecordingReader& reader) { require_covered(reader, bookmark); },
      [&](RecordingWriter& writer) {
        writer.remove_bookmark(bookmark.name);
        writer.bookmark(bookmark);
      });
}

}  // namespace chronovisor
