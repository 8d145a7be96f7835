#include "base/section.h"

#include <charconv>

namespace chronovisor {

std::string section_name(std::string_view name, std::uint32_t version) {
  std::string text(name);
  if (version != 1) text += "@" + std::to_string(version);
  return text;
}

SectionName parse_section_name(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos) return {std::string(text), 1};
  SectionName name{std::string(text.substr(0, at)), 0};
  const std::string_view digits = text.substr(at + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), name.version);
  if (error != std::errc() || end != digits.data() + digits.size() || name.version < 2 ||
      digits[0] == '0') {
    throw Error(ErrorCode::bad_input,
                "state section " + std::string(text) + ": not a version after the @");
  }
  return name;
}

void require_field(bool sound, std::string_view name) {
  if (sound) return;
  throw Error(ErrorCode::bad_input,
              "field " + std::string(name) + " has a value that no machine has");
}

}  // namespace chronovisor
