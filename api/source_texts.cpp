#include "api/source_texts.h"

#include <string_view>
#include <utility>

#include "base/error.h"
#include "recorder/format/file.h"

namespace chronovisor::api {
namespace {

constexpr std::uint64_t kMostFileBytes = 8U << 20;
constexpr std::size_t kMostFiles = 256;
constexpr std::size_t kMostLineBytes = 400;
/// Debug information says what it likes: a longer name is no file's (PATH_MAX), ...
constexpr std::size_t kMostNameBytes = 4096;
/// ... and no more of its end is tried than so many folders deep.
constexpr std::size_t kMostParts = 32;

/// The name; then without one folder more of its beginning each time.
std::vector<std::string> ends_of(const std::string& name) {
  if (name.size() > kMostNameBytes) return {};
  std::vector<std::size_t> begins;
  for (std::size_t at = 1; at < name.size(); ++at) {
    if (name[at - 1] == '/' && name[at] != '/') begins.push_back(at);
  }
  if (begins.size() > kMostParts) {
    begins.erase(begins.begin(),
                 begins.begin() + static_cast<std::ptrdiff_t>(begins.size() - kMostParts));
  }
  std::vector<std::string> ends{name};
  for (const std::size_t begin : begins) ends.push_back(name.substr(begin));
  return ends;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line.substr(0, kMostLineBytes));
  }
  return lines;
}

}  // namespace

SourceTexts::SourceTexts(const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) folders_.push_back(AllowedFiles::inside(folder));
}

SourceTexts::Lines SourceTexts::read(const std::string& name) const {
  const std::vector<std::string> ends = ends_of(name);
  for (const AllowedFiles& folder : folders_) {
    for (const std::string& end : ends) {
      try {
        const Bytes content = read_whole_file(folder.path(end), kMostFileBytes);
        return lines_of({reinterpret_cast<const char*>(content.data()), content.size()});
      } catch (const Error&) {
        // It is not there, or elsewhere.
      }
    }
  }
  return {};
}

std::optional<std::string> SourceTexts::line(const std::string& name, std::uint32_t line) {
  if (folders_.empty() || line == 0) return std::nullopt;
  auto found = files_.find(name);
  if (found == files_.end()) {
    if (files_.size() >= kMostFiles) files_.clear();
    found = files_.emplace(name, read(name)).first;
  }
  const Lines& lines = found->second;
  if (line > lines.size()) return std::nullopt;
  return lines[line - 1];
}

}  // namespace chronovisor::api
