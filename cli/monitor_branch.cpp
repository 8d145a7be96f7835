// Monitor commands for what is not the recorded run: branches, live or not, and
// the names that people give to places of the recording.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "cli/go_live.h"
#include "cli/monitor.h"
#include "cli/recorded_place.h"
#include "recorder/edit/bookmark_edit.h"

namespace chronovisor::cli {

std::vector<Bookmark> MonitorCommands::all_bookmarks() const {
  std::vector<Bookmark> all = timeline_.reader().bookmarks();
  std::erase_if(all, [&](const Bookmark& mark) {
    return std::find(removed_.begin(), removed_.end(), mark.name) != removed_.end();
  });
  all.insert(all.end(), bookmarks_.begin(), bookmarks_.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
  return all;
}

void MonitorCommands::list_bookmarks(const Output& output) const {
  const std::vector<Bookmark> all = all_bookmarks();
  for (const Bookmark& mark : all) {
    output(fmt::format("{:>20}  {}\n", grouped(mark.position.steps), mark.name));
  }
  if (all.empty()) output("no bookmarks; bookmark NAME makes one\n");
}

void MonitorCommands::bookmark(const Words& arguments, const Output& output,
                               const gdb::CancelFlag&) {
  if (arguments.empty()) return list_bookmarks(output);
  const bool remove = arguments[0] == "--delete";
  const bool move = arguments[0] == "--move";
  if (arguments.size() != (remove || move ? 2U : 1U)) {
    throw Error(ErrorCode::usage, "bookmark [NAME | --move NAME | --delete NAME]");
  }
  if (remove) return delete_bookmark(arguments[1], output);
  const std::string& name = arguments.back();
  require_bookmark_name(name);
  if (LiveBranch* live = timeline_.live()) {
    live->bookmark(name);
    output(fmt::format("{} is position {} of {}\n", name, grouped(timeline_.now().position.steps),
                       live_file_));
    return;
  }
  need_timeline("bookmark");
  name_place(name, move, output);
}

/// Puts the name into the recording; where that cannot be written, it lasts as
/// long as this server.
void MonitorCommands::name_place(const std::string& name, bool move, const Output& output) {
  const std::vector<Bookmark> all = all_bookmarks();
  const auto taken =
      std::find_if(all.begin(), all.end(), [&](const Bookmark& b) { return b.name == name; });
  if (taken != all.end() && !move) {
    throw Error(ErrorCode::usage,
                fmt::format("{} is position {} already; bookmark --move {} takes it here", name,
                            grouped(taken->position.steps), name));
  }
  const Bookmark mark{timeline_.now().position, name};
  std::string kept = "kept in " + timeline_.reader().name();
  try {
    if (move) {
      move_bookmark(timeline_.reader().name(), mark);
    } else {
      append_bookmark(timeline_.reader().name(), mark);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage) throw;
    kept = fmt::format("kept only until this server ends ({})", error.what());
  }
  std::erase_if(bookmarks_, [&](const Bookmark& other) { return other.name == name; });
  removed_.push_back(name);  // whatever the recording had of that name when it was opened
  bookmarks_.push_back(mark);
  output(fmt::format("{} is position {}, {}\n", name, grouped(mark.position.steps), kept));
}

void MonitorCommands::delete_bookmark(const std::string& name, const Output& output) {
  const std::vector<Bookmark> all = all_bookmarks();
  if (std::none_of(all.begin(), all.end(), [&](const Bookmark& b) { return b.name == name; })) {
    throw Error(ErrorCode::usage, "there is no bookmark " + name);
  }
  std::string kept;
  try {
    remove_bookmark(timeline_.reader().name(), name);
  } catch (const Error& error) {
    // It was never in the file, or stays there.
    if (error.code() != ErrorCode::usage) {
      kept = fmt::format(", until this server ends ({})", error.what());
    }
  }
  std::erase_if(bookmarks_, [&](const Bookmark& other) { return other.name == name; });
  removed_.push_back(name);
  output(fmt::format("{} is no more{}\n", name, kept));
}

void MonitorCommands::branch(const Words&, const Output& output, const gdb::CancelFlag&) {
  if (timeline_.on_branch()) {
    output("on a branch already\n");
    return;
  }
  timeline_.note_change();
  output(fmt::format("a branch from position {}: the machine goes on without recorded input\n",
                     grouped(timeline_.now().position.steps)));
}

void MonitorCommands::go_live(const Words& arguments, const Output& output,
                              const gdb::CancelFlag&) {
  const GoLiveOptions options = parse_go_live(arguments, settings_.files);
  if (timeline_.live() != nullptr) {
    throw Error(ErrorCode::usage, "live already, recorded in " + live_file_ + "; discard ends it");
  }
  const GoneLive gone = cli::go_live(
      timeline_, options, [this] { return settings_.running != nullptr && *settings_.running; },
      [this](const std::string& report) {
        live_report_ = report;
        std::fprintf(stderr, "chronovisor: %s\n", report.c_str());
      });
  live_file_ = gone.file;
  live_line_ = gone.line;
  settings_.destination.reset();
  output(fmt::format("live from position {}, recorded in {}\n",
                     grouped(timeline_.now().position.steps), gone.file));
  output(gone.terminal.empty() ? "the guest gets no input\n"
                               : "the guest's serial line is " + gone.terminal + "\n");
}

void MonitorCommands::discard(const Words&, const Output& output, const gdb::CancelFlag&) {
  if (!timeline_.on_branch()) throw Error(ErrorCode::usage, "there is no branch to discard");
  live_report_.clear();
  timeline_.discard_branch();
  if (!live_report_.empty()) output(live_report_ + "\n");
  // The debugger still shows the branch: arriving here is the stop that tells it.
  settings_.destination = timeline_.now();
  output(
      fmt::format("back on the timeline at position {}: continue, or reverse-continue, "
                  "arrives there\n",
                  grouped(timeline_.now().position.steps)));
}

}  // namespace chronovisor::cli
