// Owns JSON documents as values: what a client sent, and what it is answered. Parsing
// is bounded, since clients are not trusted. Knows no protocol. Values; any thread.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "api/limits.h"
#include "base/error.h"

namespace chronovisor::api {

class Value {
 public:
  using Array = std::vector<Value>;
  using Member = std::pair<std::string, Value>;
  /// In the order in which they are written.
  using Object = std::vector<Member>;
  /// A document that somebody else has made, as text.
  struct Made {
    std::string json;
  };
  /// A number that is no integer of 64 bits, as it was written: an id is given back so.
  struct Written {
    std::string number;
  };

  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool flag) : held_(flag) {}
  template <std::integral Number>
  requires(!std::same_as<Number, bool>) Value(Number number) {
    if (std::cmp_less(number, 0)) {
      held_ = static_cast<std::int64_t>(number);
    } else {
      held_ = static_cast<std::uint64_t>(number);
    }
  }
  Value(double number) : held_(number) {}
  Value(const char* text) : held_(std::string(text)) {}
  Value(std::string_view text) : held_(std::string(text)) {}
  Value(std::string text) : held_(std::move(text)) {}
  Value(Array items) : held_(std::move(items)) {}
  Value(Object members) : held_(std::move(members)) {}
  Value(Made made) : held_(std::move(made)) {}
  Value(Written number) : held_(std::move(number)) {}

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(held_); }
  [[nodiscard]] const bool* flag() const { return std::get_if<bool>(&held_); }
  /// A whole number that is not negative.
  [[nodiscard]] const std::uint64_t* count() const { return std::get_if<std::uint64_t>(&held_); }
  [[nodiscard]] const std::string* text() const { return std::get_if<std::string>(&held_); }
  [[nodiscard]] const Array* array() const { return std::get_if<Array>(&held_); }
  [[nodiscard]] const Object* object() const { return std::get_if<Object>(&held_); }
  [[nodiscard]] bool is_number() const {
    return count() != nullptr || std::holds_alternative<std::int64_t>(held_) ||
           std::holds_alternative<double>(held_) || std::holds_alternative<Written>(held_);
  }
  /// Of an object; null when there is none of this name, or this is no object.
  [[nodiscard]] const Value* member(std::string_view name) const;

  /// On one line, without a newline. Texts may be any bytes: what is no UTF-8 becomes
  /// U+FFFD.
  [[nodiscard]] std::string json() const;
  /// For people: indented.
  [[nodiscard]] std::string pretty() const;

  bool operator==(const Value& other) const { return json() == other.json(); }

 private:
  friend class ValueBuilder;
  void append_json(std::string& out) const;

  std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::string, Array,
               Object, Made, Written>
      held_;
};

struct ParseLimits {
  std::size_t depth = kMostDepth;
  std::size_t values = kMostValues;  ///< in the whole document
  bool nul_characters = true;        ///< texts may have them

  /// Of what this program has written itself.
  [[nodiscard]] static constexpr ParseLimits none() {
    return {~std::size_t{0}, ~std::size_t{0}, true};
  }
};

/// Text that is no JSON document, or one beyond the limits; says at which byte.
class ParseError : public Error {
 public:
  ParseError(const std::string& message, std::size_t byte)
      : Error(ErrorCode::bad_input, message), byte_(byte) {}
  [[nodiscard]] std::size_t byte() const { return byte_; }

 private:
  std::size_t byte_;
};

/// Throws ParseError, also for an object that has two members of one name.
[[nodiscard]] Value parse_json(std::string_view text, const ParseLimits& limits = {});

}  // namespace chronovisor::api
