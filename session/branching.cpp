// What is not the recorded run: branches, live or not; and the names that people
// give to places of the recording.
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "session/debug_session.h"

namespace chronovisor::session {

Answer DebugSession::answer(const ListBookmarksRequest& /*request*/, const Cancel& /*cancel*/) {
  return BookmarksAnswer{bookmarks_.all()};
}

Answer DebugSession::answer(const SetBookmarkRequest& request, const Cancel& /*cancel*/) {
  if (LiveBranch* live = timeline_.live()) {
    require_bookmark_name(request.name);
    if (request.move) {
      throw Error(ErrorCode::usage, "bookmark --move: not in a recording that is being made");
    }
    live->bookmark(request.name);
    return BookmarkSetAnswer{{timeline_.now().position, request.name}, live_file_, {}, true};
  }
  need_timeline("bookmark");
  return bookmarks_.set(request.name, timeline_.now().position, request.move);
}

Answer DebugSession::answer(const DeleteBookmarkRequest& request, const Cancel& /*cancel*/) {
  return bookmarks_.remove(request.name);
}

Answer DebugSession::answer(const BranchRequest& /*request*/, const Cancel& /*cancel*/) {
  const bool already = timeline_.on_branch();
  if (!already) timeline_.note_change();
  return BranchAnswer{timeline_.now().position, already};
}

Answer DebugSession::answer(const DiscardRequest& /*request*/, const Cancel& /*cancel*/) {
  if (!timeline_.on_branch()) throw Error(ErrorCode::usage, "there is no branch to discard");
  live_report_.clear();
  timeline_.discard_branch();
  // Whoever watches still shows the branch: arriving here is the stop that tells.
  destination_ = timeline_.now();
  return DiscardAnswer{timeline_.now().position, live_report_};
}

Answer DebugSession::answer(const GoLiveRequest& request, const Cancel& /*cancel*/) {
  if (timeline_.live() != nullptr) {
    throw Error(ErrorCode::usage, "live already, recorded in " + live_file_ + "; discard ends it");
  }
  GoneLive gone = go_live(
      timeline_, allowed(request.options, files_),
      [this] { return running_ && running_->requested(); },
      [this](const std::string& report) {
        live_report_ = report;
        std::fprintf(stderr, "chronovisor: %s\n", report.c_str());
      });
  live_file_ = gone.file;
  live_line_ = gone.line;
  discs_ = std::move(gone.discs);
  destination_.reset();
  return LiveAnswer{timeline_.now().position, gone.file, gone.terminal};
}

Answer DebugSession::answer(const ChangeMediumRequest& request, const Cancel& /*cancel*/) {
  const char* const verb = request.file.empty() ? "eject" : "change";
  if (timeline_.live() == nullptr) {
    throw Error(ErrorCode::usage, std::string(verb) +
                                      ": what was recorded has happened; go-live first, and the "
                                      "change is an input of the new recording");
  }
  if (discs_ == nullptr) {
    throw Error(ErrorCode::usage, std::string(verb) + ": the machine has no drives");
  }
  const auto force = request.force ? DiscChanger::Force::yes : DiscChanger::Force::no;
  if (request.file.empty()) {
    discs_->eject(request.drive, force);
    return MediumAnswer{request.drive, {}};
  }
  return MediumAnswer{request.drive, discs_->change(request.drive, files_.path(request.file),
                                                    request.format, force)};
}

}  // namespace chronovisor::session
