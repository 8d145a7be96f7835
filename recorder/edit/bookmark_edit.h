// Owns putting bookmarks into a finished recording, and taking them out: the
// footer is cut off, the change appended, and a footer written that knows of it.
// A kill in between leaves a recording whose index is rebuilt when it is opened.
// A reader that has the file open keeps what it knew: nothing before the footer
// changes. Two processes take turns by a lock on the file. Any thread.
#pragma once

#include <string>

#include "recorder/format/records.h"

namespace chronovisor {

/// Throws Error{bad_input} when the recording is damaged or unfinished,
/// Error{usage} when it does not cover the position or has that name already,
/// Error{host} when it cannot be written.
void append_bookmark(const std::string& path, const Bookmark& bookmark);

/// Takes away the bookmark of this name. Throws as append_bookmark does,
/// Error{usage} when there is none.
void remove_bookmark(const std::string& path, const std::string& name);

/// Gives the name to another position, whether or not it exists already. Throws
/// as append_bookmark does.
void move_bookmark(const std::string& path, const Bookmark& bookmark);

}  // namespace chronovisor
