// Owns what goes with a state section beside its fields: its version, which stands in
// its name (`pit` is version 1, `pit@2` version 2), and the bounds of numbers that
// untrusted bytes must not exceed. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/state.h"

namespace chronovisor {

/// The versions of a section that an object can load and save. New states are made in
/// the newest.
struct StateVersions {
  std::uint32_t oldest = 1;
  std::uint32_t newest = 1;
};

/// What a section's name says: whose state it is, and in which version.
struct SectionName {
  std::string name;
  std::uint32_t version = 1;
  bool operator==(const SectionName&) const = default;
};
/// As it stands in a section: the version follows an "@" unless it is 1.
[[nodiscard]] std::string section_name(std::string_view name, std::uint32_t version);
/// Throws Error{bad_input} when what follows the "@" is no version from 2 on.
[[nodiscard]] SectionName parse_section_name(std::string_view text);

/// Says that the field `name` must have a value that a machine can have. Throws
/// Error{bad_input} naming the field; whoever loads the section adds its name.
void require_field(bool sound, std::string_view name);

/// Shows a number that serves as an index or a choice: one above `most` is refused.
template <class T>
void bounded_field(StateVisitor& visitor, std::string_view name, T& value,
                   std::type_identity_t<T> most) {
  static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
  T shown = value;
  visitor.field(name, shown);
  require_field(shown <= most, name);
  value = shown;
}

}  // namespace chronovisor
