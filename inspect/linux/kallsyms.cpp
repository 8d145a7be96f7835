// The tables, each aligned to 8 bytes: the number of symbols; the names, each a
// length and that many token numbers; the markers, where every 256th name
// starts; in some versions sequence numbers; the tokens; their index. Up to 6.3
// the offsets of the addresses and their base stand before the number of
// symbols, from 6.4 behind the token index.
#include "inspect/linux/kallsyms.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/units.h"

namespace chronovisor::linux_guest {
namespace {

constexpr std::size_t kTokens = 256;
constexpr std::size_t kMostTokenBytes = 1024;
constexpr std::size_t kNamesPerMarker = 256;
constexpr std::uint64_t kFewestSymbols = 1000;
constexpr std::uint64_t kMostSymbols = 1U << 20;
constexpr std::size_t kLargestTable = 32U << 20;
constexpr std::uint64_t kKernelSpace = 0xffffffff80000000ULL;

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::bad_input, std::string("kallsyms: ") + what);
}

std::size_t align8(std::size_t value) { return (value + 7) & ~std::size_t{7}; }

std::uint64_t integer(ByteView image, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t n = size; n-- > 0;) value = value << 8 | image[at + n];
  return value;
}

struct TokenTable {
  std::size_t start = 0;
  std::size_t index_end = 0;
  std::array<std::string_view, kTokens> tokens;
};

/// Reads a token table that starts at `start`, if its index is behind it.
std::optional<TokenTable> tokens_at(ByteView image, std::size_t start) {
  TokenTable table;
  table.start = start;
  std::array<std::size_t, kTokens> offsets{};
  std::size_t place = start;
  for (std::size_t n = 0; n < kTokens; ++n) {
    const std::size_t most = std::min(place + kMostTokenBytes, image.size());
    std::size_t end = place;
    while (end < most && image[end] != 0) ++end;
    if (end == most) return std::nullopt;
    offsets[n] = place - start;
    table.tokens[n] = {reinterpret_cast<const char*>(image.data()) + place, end - place};
    place = end + 1;
  }
  const std::size_t index = align8(place);
  table.index_end = index + 2 * kTokens;
  if (table.index_end > image.size()) return std::nullopt;
  for (std::size_t n = 0; n < kTokens; ++n) {
    if (integer(image, index + 2 * n, 2) != offsets[n]) return std::nullopt;
  }
  return table;
}

TokenTable find_tokens(ByteView image) {
  // Every character in use is a token of its own, so the digits stand in a row.
  std::array<std::uint8_t, 20> digits{};
  for (std::size_t n = 0; n < 10; ++n) digits[2 * n] = static_cast<std::uint8_t>('0' + n);
  const std::boyer_moore_horspool_searcher searcher(digits.begin(), digits.end());
  auto from = image.begin();
  while (true) {
    const auto hit = std::search(from, image.end(), searcher);
    if (hit == image.end()) fail("no token table (no Linux kernel, or CONFIG_KALLSYMS is off)");
    // The token of '0' is number 48: go back over the 48 before it.
    auto start = static_cast<std::size_t>(hit - image.begin());
    for (unsigned n = 0; n < '0' && start > 1; ++n) {
      std::size_t before = start - 1;
      const std::size_t least = before > kMostTokenBytes ? before - kMostTokenBytes : 0;
      while (before > least && image[before - 1] != 0) --before;
      start = before;
    }
    if (start % 8 == 0) {
      if (auto table = tokens_at(image, start)) return *table;
    }
    from = hit + 1;
  }
}

struct NameEntry {
  std::size_t first = 0;  ///< place of the first token number
  std::size_t length = 0;
};

std::optional<NameEntry> name_at(ByteView image, std::size_t place) {
  if (place + 2 > image.size()) return std::nullopt;
  std::size_t length = image[place];
  std::size_t first = place + 1;
  if ((length & 0x80) != 0) {  // long names take a second byte of length
    length = (length & 0x7f) | std::size_t{image[place + 1]} << 7;
    first = place + 2;
  }
  if (length == 0 || first + length > image.size()) return std::nullopt;
  return NameEntry{first, length};
}

/// Whether `count` names from `names` on meet the markers behind them.
bool names_fit(ByteView image, std::size_t names, std::uint64_t count, std::size_t limit) {
  std::vector<std::size_t> markers;
  std::size_t place = names;
  for (std::uint64_t n = 0; n < count; ++n) {
    if (n % kNamesPerMarker == 0) markers.push_back(place - names);
    const auto name = name_at(image, place);
    if (!name || name->first + name->length > limit) return false;
    place = name->first + name->length;
  }
  const std::size_t table = align8(place);
  if (table + 4 * markers.size() > limit) return false;
  for (std::size_t n = 0; n < markers.size(); ++n) {
    if (integer(image, table + 4 * n, 4) != markers[n]) return false;
  }
  return true;
}

/// The place of the number of symbols.
std::size_t find_count(ByteView image, std::size_t token_start) {
  const std::size_t least = token_start > kLargestTable ? token_start - kLargestTable : 8;
  for (std::size_t place = token_start & ~std::size_t{7}; place > least;) {
    place -= 8;
    const std::uint64_t count = integer(image, place, 8);
    if (count > kFewestSymbols && count < kMostSymbols &&
        names_fit(image, place + 8, count, token_start)) {
      return place;
    }
  }
  fail("no names before the token table");
}

/// The base of the offsets, if there is a credible one at `place`.
std::optional<std::uint64_t> base_at(ByteView image, std::size_t place) {
  if (place + 8 > image.size()) return std::nullopt;
  const std::uint64_t base = integer(image, place, 8);
  if (base < kKernelSpace || base % kPageSize != 0) return std::nullopt;
  return base;
}

}  // namespace

std::vector<KernelSymbol> read_kallsyms(ByteView image) {
  const TokenTable table = find_tokens(image);
  const std::size_t count_place = find_count(image, table.start);
  const std::uint64_t count = integer(image, count_place, 8);
  const std::size_t offset_bytes = align8(4 * count);
  std::size_t offsets = 0;
  std::optional<std::uint64_t> base;
  if (count_place >= 8 + offset_bytes) {
    offsets = count_place - 8 - offset_bytes;
    base = base_at(image, count_place - 8);
  }
  if (!base) {
    offsets = table.index_end;
    base = base_at(image, table.index_end + offset_bytes);
  }
  if (!base) fail("no base beside the tables (a layout unknown to this program)");
  std::vector<KernelSymbol> symbols;
  symbols.reserve(count);
  std::size_t place = count_place + 8;
  for (std::uint64_t n = 0; n < count; ++n) {
    const auto name = name_at(image, place);
    if (!name) fail("the names run out of the image");
    place = name->first + name->length;
    std::string text;
    for (std::size_t i = 0; i < name->length; ++i) text += table.tokens[image[name->first + i]];
    const auto offset = static_cast<std::int32_t>(integer(image, offsets + 4 * n, 4));
    // Not negative: absolute, as of per-CPU variables. Negative: from the base.
    const std::uint64_t address =
        offset >= 0 ? static_cast<std::uint64_t>(offset)
                    : *base - 1 - static_cast<std::uint64_t>(std::int64_t{offset});
    if (text.empty()) fail("a name without a type");
    symbols.push_back({address, text[0], text.substr(1)});
  }
  return symbols;
}

}  // namespace chronovisor::linux_guest
