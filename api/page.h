// Owns how long answers are given in pages: a list, and a cursor with which to ask for
// what follows. Plain functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "api/method.h"
#include "api/shape.h"

namespace chronovisor::api {

inline constexpr Range kPageRange{1, 1000};
inline constexpr const char* kLimitText = "Most entries of one answer";
inline constexpr const char* kCursorText = "The `next` of the answer before: go on there";

/// The number in a cursor that this folder made, within [0, most]; 0 for an empty one.
/// Throws CallError.
[[nodiscard]] std::uint64_t number_of_cursor(const std::string& cursor, std::uint64_t most);

/// A place in the recording with entries there that were already given.
struct ScanCursor {
  std::uint64_t position = 0;
  std::uint64_t skip = 0;
  [[nodiscard]] std::string text() const;
  /// Throws CallError.
  [[nodiscard]] static ScanCursor parse(const std::string& text);
};

/// {name: [...], "next": ..., "total": ...} for a page of `all`, from the number in
/// `cursor` on, `limit` of them; `make` gives the entry of each.
template <typename List, typename Make>
Value page_of(const char* name, const List& all, const std::string& cursor, std::uint64_t limit,
              Make make) {
  const std::uint64_t first = number_of_cursor(cursor, all.size());
  const std::uint64_t last = first + std::min<std::uint64_t>(limit, all.size() - first);
  Value::Array items;
  for (std::uint64_t n = first; n < last; ++n) {
    items.push_back(make(all[static_cast<std::size_t>(n)]));
  }
  return Value::Object{{name, std::move(items)},
                       {"total", all.size()},
                       {"next", last < all.size() ? Value(std::to_string(last)) : Value()}};
}
[[nodiscard]] Value page_shape(const char* name, Value item);

}  // namespace chronovisor::api
