#include "api/source_texts.h"

#include <filesystem>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "recorder/format/file.h"

namespace chronovisor::api {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostFileBytes = 8U << 20;
constexpr std::size_t kMostFiles = 256;
constexpr std::size_t kMostLineBytes = 400;

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
  const fs::path whole(name);
  for (const AllowedFiles& folder : folders_) {
    // As it is called; then without one folder more of its beginning each time.
    for (fs::path rest = whole; !rest.empty();) {
      try {
        const Bytes content = read_whole_file(folder.path(rest.string()), kMostFileBytes);
        return lines_of({reinterpret_cast<const char*>(content.data()), content.size()});
      } catch (const Error&) {
        // It is not there, or elsewhere.
      }
      fs::path shorter;
      for (auto part = ++rest.begin(); part != rest.end(); ++part) shorter /= *part;
      rest = shorter;
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
