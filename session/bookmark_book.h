// Owns the bookmarks of a recording while it is open: those it had, those made and
// taken away since, and keeping the changes in its file. The thread that owns the
// session.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recorder/format/recording_reader.h"
#include "session/answer.h"

namespace chronovisor::session {

/// What becomes of a change that the file does not take.
enum class UnwrittenBookmarks : std::uint8_t {
  kept,     ///< it holds as long as the book does, and the answer says so
  refused,  ///< it throws what the file's writing threw
};

class BookmarkBook {
 public:
  /// The reader must outlive this.
  BookmarkBook(const RecordingReader& reader, UnwrittenBookmarks unwritten)
      : reader_(reader), unwritten_(unwritten) {}

  /// Grows with every change.
  [[nodiscard]] std::uint64_t changes() const { return removed_.size(); }
  /// By position.
  [[nodiscard]] std::vector<Bookmark> all() const;
  /// Names `position`, in the file where that can be written. Throws Error{usage}
  /// for a name that cannot be one, that exists already, or, with `move`, that does not.
  BookmarkSetAnswer set(const std::string& name, Position position, bool move);
  /// Throws Error{usage} when there is no such bookmark.
  BookmarkDeletedAnswer remove(const std::string& name);

 private:
  [[noreturn]] void refuse_missing(const std::string& name) const;

  const RecordingReader& reader_;
  UnwrittenBookmarks unwritten_;
  std::vector<Bookmark> made_;        ///< since the recording was opened
  std::vector<std::string> removed_;  ///< names that it had when it was opened
};

}  // namespace chronovisor::session
