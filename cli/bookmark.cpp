// bookmark: names for positions, kept in the recording.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/parser.h"
#include "recorder/format/recording_reader.h"
#include "session/answer.h"
#include "session/bookmark_book.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

struct BookmarkOptions {
  std::string file;
  std::string name;
  std::string position;
  bool remove = false;
  bool move = false;
  bool json = false;
};

int list(const session::BookmarkBook& book, bool as_json) {
  const session::BookmarksAnswer answer{book.all()};
  if (as_json) {
    std::printf("%s\n", session::json_of(answer).c_str());
  } else if (!answer.bookmarks.empty()) {
    std::fputs(session::text_of(answer).c_str(), stdout);
  }
  return kDone;
}

int bookmark(const BookmarkOptions& options) {
  if (options.name.empty() && (options.remove || options.move)) {
    throw Error(ErrorCode::usage, "which bookmark?");
  }
  if (options.remove && (options.move || !options.position.empty())) {
    throw Error(ErrorCode::usage, "--delete takes a name and nothing else");
  }
  if (!options.name.empty() && !options.remove) {
    require_bookmark_name(options.name);
    if (options.position.empty()) {
      throw Error(ErrorCode::usage, "which position is to be called " + options.name + "?");
    }
  }
  const RecordingReader reader(options.file);
  session::BookmarkBook book(reader, session::UnwrittenBookmarks::refused);
  if (options.name.empty()) return list(book, options.json);
  if (options.remove) {
    (void)book.remove(options.name);
  } else {
    (void)book.set(options.name, recorded_place(options.position, reader, "position"),
                   options.move);
  }
  return kDone;
}

}  // namespace

void add_bookmark(Command& app, Action& action) {
  auto options = std::make_shared<BookmarkOptions>();
  Command command =
      app.add_subcommand("bookmark", "Name a position of a recording, or list the names");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command.add_option("name", options->name, "What to call it; --at takes it. None: list all")
      .type_name("NAME");
  command.add_option("position", options->position, "The position, or another bookmark")
      .type_name("start|end|POSITION|BOOKMARK");
  command.add_flag("-d,--delete", options->remove, "Take the bookmark away");
  command.add_flag("--move", options->move, "Give a name that is taken to this position");
  command.add_flag("--json", options->json, "List as JSON");
  command.callback([options, &action] { action = [options] { return bookmark(*options); }; });
}

}  // namespace chronovisor::cli
