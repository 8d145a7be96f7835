// Owns the words in which the table of methods describes values: each makes a JSON
// Schema, draft 2020-12, so that what is published is what the table says. Plain
// functions; any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "api/value.h"

namespace chronovisor::api::shape {

/// A whole number from 0.
[[nodiscard]] Value count();
[[nodiscard]] Value flag();
[[nodiscard]] Value text();
/// A 64-bit number that is no count, as "0x1f".
[[nodiscard]] Value hex();
/// One of these texts.
[[nodiscard]] Value one_of(std::initializer_list<std::string_view> words);
[[nodiscard]] Value list_of(Value item);
/// The value, or null where there is none.
[[nodiscard]] Value or_null(Value value);
/// Any JSON.
[[nodiscard]] Value anything();

struct Field {
  std::string_view name;  ///< with '?' at its end: may be missing
  Value shape;
  std::string_view description{};
};
/// An object with these members. More may come in later versions.
[[nodiscard]] Value object(std::initializer_list<Field> fields);

}  // namespace chronovisor::api::shape
