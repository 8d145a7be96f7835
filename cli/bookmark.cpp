// bookmark: names for positions, kept in the recording.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "recorder/edit/bookmark_edit.h"
#include "recorder/format/recording_reader.h"
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

int list(const BookmarkOptions& options) {
  const RecordingReader reader(options.file);
  std::vector<Bookmark> all = reader.bookmarks();
  std::stable_sort(all.begin(), all.end(),
                   [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
  if (options.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const Bookmark& mark : all) {
      json.push_back({{"name", mark.name}, {"position", mark.position.steps}});
    }
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    std::printf("%s\n", json.dump(2, ' ', false, replace).c_str());
    return kDone;
  }
  for (const Bookmark& mark : all) {
    // Text out of a file, as a terminal can take it.
    std::string name = mark.name;
    std::replace_if(
        name.begin(), name.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    std::printf("%20s  %s\n", grouped(mark.position.steps).c_str(), name.c_str());
  }
  return kDone;
}

int bookmark(const BookmarkOptions& options) {
  if (options.name.empty()) {
    if (options.remove || options.move) throw Error(ErrorCode::usage, "which bookmark?");
    return list(options);
  }
  if (options.remove) {
    if (options.move || !options.position.empty()) {
      throw Error(ErrorCode::usage, "--delete takes a name and nothing else");
    }
    remove_bookmark(options.file, options.name);
    return kDone;
  }
  require_bookmark_name(options.name);
  if (options.position.empty()) {
    throw Error(ErrorCode::usage, "which position is to be called " + options.name + "?");
  }
  Bookmark mark{{}, options.name};
  {
    const RecordingReader reader(options.file);
    mark.position = recorded_place(options.position, reader, "position");
  }
  if (options.move) {
    move_bookmark(options.file, mark);
  } else {
    append_bookmark(options.file, mark);
  }
  return kDone;
}

}  // namespace

void add_bookmark(CLI::App& app, Action& action) {
  auto options = std::make_shared<BookmarkOptions>();
  CLI::App* command =
      app.add_subcommand("bookmark", "Name a position of a recording, or list the names");
  command->add_option("file", options->file, "The recording")->type_name("FILE")->required();
  command->add_option("name", options->name, "What to call it; --at takes it. None: list all")
      ->type_name("NAME");
  command->add_option("position", options->position, "The position, or another bookmark")
      ->type_name("start|end|POSITION|BOOKMARK");
  command->add_flag("-d,--delete", options->remove, "Take the bookmark away");
  command->add_flag("--move", options->move, "Give a name that is taken to this position");
  command->add_flag("--json", options->json, "List as JSON");
  command->callback([options, &action] { action = [options] { return bookmark(*options); }; });
}

}  // namespace chronovisor::cli
