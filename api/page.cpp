#include "api/page.h"

#include <charconv>
#include <optional>

namespace chronovisor::api {
namespace {

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, trouble] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (trouble != std::errc{} || end != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

[[noreturn]] void refuse() {
  throw CallError(CallFault::wrong_parameters,
                  "cursor: is not the `next` of an answer to this question", "/params/cursor");
}

}  // namespace

std::uint64_t number_of_cursor(const std::string& cursor, std::uint64_t most) {
  if (cursor.empty()) return 0;
  const auto number = number_in(cursor);
  if (!number || *number > most) refuse();
  return *number;
}

std::string ScanCursor::text() const {
  return std::to_string(position) + ":" + std::to_string(skip);
}

ScanCursor ScanCursor::parse(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) refuse();
  const auto position = number_in(std::string_view(text).substr(0, colon));
  const auto skip = number_in(std::string_view(text).substr(colon + 1));
  if (!position || !skip || *skip > 1'000'000) refuse();
  return {*position, *skip};
}

Value page_shape(const char* name, Value item) {
  return shape::object(
      {{name, shape::list_of(std::move(item))},
       {"total", shape::count(), "How many there are"},
       {"next", shape::or_null(shape::text()), "Cursor for what follows; null: that was all"}});
}

}  // namespace chronovisor::api
