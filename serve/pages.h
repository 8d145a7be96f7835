// Owns the files of the page, as they were when the program was built: those of web/ and of
// what others wrote, by the paths under which they are served. Values; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace chronovisor::serve {

struct Page {
  std::string_view path;  ///< "/view/strip.js"
  std::string_view type;  ///< "text/javascript; charset=utf-8"
  std::string_view content;
};

/// Ascending by path. Written at build time by scripts/embed-pages.
[[nodiscard]] std::span<const Page> embedded_pages();

/// What is served: the embedded files, or for who writes the page, those of a folder before
/// them, as they are when they are asked for.
class Pages {
 public:
  /// @param folder empty: there is none
  explicit Pages(std::string folder = {}) : folder_(std::move(folder)) {}

  struct Found {
    std::string type;
    std::string content;
  };
  [[nodiscard]] std::optional<Found> find(std::string_view path) const;
  /// What the page is without, a sentence each, as JSON: {"version", "xterm", "lacks"}.
  [[nodiscard]] static std::string build_document(std::string_view version);

 private:
  [[nodiscard]] std::optional<Found> find_in_folder(std::string_view path) const;

  std::string folder_;
};

}  // namespace chronovisor::serve
