#include "cli/recorded_range.h"

#include <optional>

#include "base/error.h"
#include "host/host.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

/// Nothing for what may be a bookmark's name; those are never all of these characters.
std::optional<std::uint64_t> number_of(const std::string& text, const std::string& option) {
  if (text.empty() || text.find_first_not_of("0123456789_,xX") != std::string::npos) {
    return std::nullopt;
  }
  return parse_number(text, option);
}

}  // namespace

void require_range_syntax(const std::string& from, const std::string& to) {
  const auto first = number_of(from, "--from");
  const auto last = number_of(to, "--to");
  if (first && last && *first > *last) throw Error(ErrorCode::usage, "--from is past --to");
}

Position covered_place(const std::string& text, const RecordingReader& reader,
                       const std::string& option, const std::vector<std::string>& symbol_files) {
  return recorded_place(text, reader, option, symbol_files);
}

}  // namespace chronovisor::cli
