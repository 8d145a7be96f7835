#include "serve/pages.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "api/value.h"

namespace chronovisor::serve {

namespace {

/// A folder with more is not the page's.
constexpr int kMostFolderFiles = 1000;
constexpr std::uintmax_t kMostFileBytes = 16U << 20;

const Page* embedded_page(std::string_view path) {
  const auto all = embedded_pages();
  const auto found = std::lower_bound(
      all.begin(), all.end(), path,
      [](const Page& page, std::string_view wanted) { return page.path < wanted; });
  return found == all.end() || found->path != path ? nullptr : &*found;
}

std::string type_of(const std::filesystem::path& file) {
  const std::string ending = file.extension();
  if (ending == ".html") return "text/html; charset=utf-8";
  if (ending == ".js") return "text/javascript; charset=utf-8";
  if (ending == ".css") return "text/css; charset=utf-8";
  if (ending == ".svg") return "image/svg+xml";
  if (ending == ".png") return "image/png";
  return ending == ".json" ? "application/json" : "text/plain; charset=utf-8";
}

}  // namespace

std::optional<Pages::Found> Pages::find(std::string_view path) const {
  if (!folder_.empty()) {
    if (auto found = find_in_folder(path)) return found;
  }
  const Page* page = embedded_page(path);
  if (page == nullptr) return std::nullopt;
  return Found{std::string(page->type), std::string(page->content)};
}

/// What is asked for is compared with what is there, and names nothing by itself.
std::optional<Pages::Found> Pages::find_in_folder(std::string_view path) const {
  std::error_code trouble;
  int files = 0;
  for (std::filesystem::recursive_directory_iterator at(folder_, trouble), end;
       !trouble && at != end && files < kMostFolderFiles; at.increment(trouble), ++files) {
    if (!at->is_regular_file(trouble) || at->is_symlink(trouble)) continue;
    if ("/" + at->path().lexically_relative(folder_).string() != path) continue;
    std::ifstream file(at->path(), std::ios::binary);
    if (!file || at->file_size(trouble) > kMostFileBytes) return std::nullopt;
    return Found{type_of(at->path()), std::string(std::istreambuf_iterator<char>(file), {})};
  }
  return std::nullopt;
}

std::string Pages::build_document(std::string_view version) {
  const bool xterm = embedded_page("/vendor/xterm.js") != nullptr;
  api::Value::Array lacks;
  if (!xterm) {
    lacks.emplace_back(
        "This build has no terminal emulator (xterm.js): the console is shown as plain text.");
  }
  return api::Value(api::Value::Object{{"version", std::string(version)},
                                       {"xterm", xterm},
                                       {"lacks", std::move(lacks)}})
      .json();
}

}  // namespace chronovisor::serve
