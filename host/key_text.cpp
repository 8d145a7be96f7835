#include "host/key_text.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kExtended = 0xe000;  // codes behind the prefix E0H
constexpr std::uint8_t kLeftShift = 0x2a;

struct CharacterKey {
  std::uint8_t code;
  bool shift;
};

/// The rows of a US keyboard, from the code of the first key of each.
std::optional<CharacterKey> key_of(char character) {
  struct Row {
    std::uint8_t first;
    std::string_view plain;
    std::string_view shifted;
  };
  static constexpr Row kRows[] = {{0x02, "1234567890-=", "!@#$%^&*()_+"},
                                  {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
                                  {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
                                  {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"}};
  switch (character) {
    case ' ':
      return CharacterKey{0x39, false};
    case '\n':
    case '\r':
      return CharacterKey{0x1c, false};
    case '\t':
      return CharacterKey{0x0f, false};
    case '\x1b':
      return CharacterKey{0x01, false};
    default:
      break;
  }
  for (const Row& row : kRows) {
    for (const bool shift : {false, true}) {
      const std::size_t at = (shift ? row.shifted : row.plain).find(character);
      if (at != std::string_view::npos) {
        return CharacterKey{static_cast<std::uint8_t>(row.first + at), shift};
      }
    }
  }
  return std::nullopt;
}

const std::map<std::string, std::uint16_t, std::less<>>& key_names() {
  static const std::map<std::string, std::uint16_t, std::less<>> names = [] {
    std::map<std::string, std::uint16_t, std::less<>> all{
        {"esc", 0x01},      {"enter", 0x1c},      {"tab", 0x0f},      {"backspace", 0x0e},
        {"space", 0x39},    {"ctrl", 0x1d},       {"shift", 0x2a},    {"alt", 0x38},
        {"altgr", 0xe038},  {"win", 0xe05b},      {"menu", 0xe05d},   {"caps", 0x3a},
        {"num", 0x45},      {"scroll", 0x46},     {"up", 0xe048},     {"down", 0xe050},
        {"left", 0xe04b},   {"right", 0xe04d},    {"home", 0xe047},   {"end", 0xe04f},
        {"pageup", 0xe049}, {"pagedown", 0xe051}, {"insert", 0xe052}, {"delete", 0xe053},
        {"lt", 0x33},       {"minus", 0x0c}};
    for (unsigned n = 1; n <= 10; ++n) {
      all["f" + std::to_string(n)] = static_cast<std::uint16_t>(0x3a + n);
    }
    all["f11"] = 0x57;
    all["f12"] = 0x58;
    return all;
  }();
  return names;
}

TypedKey key_of_codes(const std::vector<std::uint16_t>& codes) {
  TypedKey key;
  for (const std::uint16_t code : codes) add_scan_code(key.press, code, false);
  for (auto code = codes.rbegin(); code != codes.rend(); ++code)
    add_scan_code(key.release, *code, true);
  return key;
}

/// @param at of `what` in `text`, in bytes
[[noreturn]] void refuse(std::string_view what, std::string_view text, std::size_t at) {
  const auto continues = [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
  };
  std::size_t end = at + what.size();
  while (end < text.size() && continues(text[end])) ++end;  // a character of several bytes
  const auto before = text.substr(0, at);
  const auto character =
      before.size() - static_cast<std::size_t>(std::ranges::count_if(before, continues)) + 1;
  throw Error(ErrorCode::usage, "keys: \"" + std::string(text.substr(at, end - at)) +
                                    "\" at character " + std::to_string(character) +
                                    " is no key of a US keyboard");
}

/// "ctrl-alt-delete"
TypedKey named(std::string_view name, std::string_view text, std::size_t at) {
  if (!name.empty() && name.front() >= '0' && name.front() <= '9' && name.size() > 1) {
    TypedKey wait;
    wait.wait_ns = wait_of(name);
    return wait;
  }
  std::vector<std::uint16_t> codes;
  if (name == "lt") return key_of_codes({kLeftShift, 0x33});
  std::size_t from = 0;
  while (from <= name.size()) {
    const std::size_t dash = std::min(name.find('-', from), name.size());
    const std::string_view part = name.substr(from, dash - from);
    if (const auto found = key_names().find(part); found != key_names().end()) {
      codes.push_back(found->second);
    } else if (part.size() == 1 && key_of(part.front()) && !key_of(part.front())->shift) {
      codes.push_back(key_of(part.front())->code);
    } else {
      refuse(text.substr(at, name.size() + 2), text, at);
    }
    from = dash + 1;
  }
  return key_of_codes(codes);
}

}  // namespace

void add_scan_code(Bytes& out, std::uint16_t code, bool release) {
  if ((code & 0xff00) == kExtended) out.push_back(0xe0);
  out.push_back(static_cast<std::uint8_t>((code & 0x7f) | (release ? 0x80 : 0)));
}

std::optional<std::uint16_t> scan_code_of_character(char character) {
  const auto key = key_of(character);
  if (!key) return std::nullopt;
  return key->code;
}

std::uint64_t wait_of(std::string_view text) {
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1'000'000}, {"us", 1'000}, {"s", 1'000'000'000}};
  constexpr std::uint64_t kMostNs = 1'000'000ULL * 1'000'000'000;
  for (const auto& [unit, ns] : kUnits) {
    if (!text.ends_with(unit) || text.size() == unit.size()) continue;
    std::uint64_t value = 0;
    for (const char digit : text.substr(0, text.size() - unit.size())) {
      if (digit < '0' || digit > '9' || value > kMostNs) {
        value = kMostNs + 1;
        break;
      }
      value = value * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    if (value <= kMostNs / ns) return value * ns;
    break;
  }
  throw Error(ErrorCode::usage, "\"" + std::string(text) + "\" is no time, as 2s, 500ms or 10us");
}

std::vector<TypedKey> typed_keys(std::string_view text) {
  std::vector<TypedKey> keys;
  for (std::size_t at = 0; at < text.size(); ++at) {
    char character = text[at];
    if (character == '<') {
      const std::size_t end = text.find('>', at);
      if (end == std::string_view::npos) refuse(text.substr(at), text, at);
      keys.push_back(named(text.substr(at + 1, end - at - 1), text, at));
      at = end;
      continue;
    }
    if (character == '\\' && at + 1 < text.size()) {
      static constexpr std::string_view kLetters = "nte\\";
      static constexpr std::string_view kMeant = "\n\t\x1b\\";
      const std::size_t which = kLetters.find(text[at + 1]);
      if (which == std::string_view::npos) refuse(text.substr(at, 2), text, at);
      character = kMeant[which];
      ++at;
    }
    const auto key = key_of(character);
    if (!key) refuse(text.substr(at, 1), text, at);
    if (key->shift) {
      keys.push_back(key_of_codes({kLeftShift, key->code}));
    } else {
      keys.push_back(key_of_codes({key->code}));
    }
  }
  return keys;
}

}  // namespace chronovisor
