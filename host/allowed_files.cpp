#include "host/allowed_files.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chronovisor {

namespace fs = std::filesystem;

AllowedFiles AllowedFiles::all() { return {}; }

AllowedFiles AllowedFiles::none(std::string how_to) {
  AllowedFiles out;
  out.scope_ = Scope::none;
  out.how_to_ = std::move(how_to);
  return out;
}

AllowedFiles AllowedFiles::inside(const fs::path& folder) {
  AllowedFiles out;
  out.scope_ = Scope::folder;
  std::error_code problem;
  out.folder_ = fs::canonical(folder, problem);
  if (problem) throw Error(ErrorCode::bad_input, folder.string() + ": " + problem.message());
  if (!fs::is_directory(out.folder_, problem)) {
    throw Error(ErrorCode::bad_input, folder.string() + ": not a folder");
  }
  return out;
}

std::string AllowedFiles::path(const std::string& named) const {
  if (scope_ == Scope::all) return named;
  if (scope_ == Scope::none) {
    throw Error(ErrorCode::usage, named + ": files of this host cannot be named here; " + how_to_);
  }
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::usage,
                named + ": " + why + "; only files in " + folder_.string() + " may be named here");
  };
  if (named.empty() || named.find('\0') != std::string::npos) refuse("not the name of a file");
  const fs::path whole = folder_ / named;  // an absolute name stands for itself
  const fs::path last = whole.filename();
  if (last.empty() || last == "." || last == "..") refuse("not the name of a file");
  std::error_code problem;
  const fs::path parent = fs::canonical(whole.parent_path(), problem);
  if (problem) refuse(problem.message());
  const auto [outside, unused] =
      std::mismatch(folder_.begin(), folder_.end(), parent.begin(), parent.end());
  if (outside != folder_.end()) refuse("it is elsewhere");
  const fs::path resolved = parent / last;
  const fs::file_status status = fs::symlink_status(resolved, problem);
  if (fs::exists(status) && !fs::is_regular_file(status)) refuse("not a plain file");
  return resolved.string();
}

}  // namespace chronovisor
