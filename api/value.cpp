// The only place of this folder that knows a JSON library.
#include "api/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace chronovisor::api {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& document, int indent) {
  return document.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

/// Builds a value out of the events of a parser that does not recurse.
class ValueBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  ValueBuilder(const ParseLimits& limits, std::size_t size) : limits_(limits), size_(size) {}

  bool null() override { return add(Value()); }
  bool boolean(bool flag) override { return add(Value(flag)); }
  bool number_integer(number_integer_t number) override { return add(Value(number)); }
  bool number_unsigned(number_unsigned_t number) override { return add(Value(number)); }
  bool number_float(number_float_t /*number*/, const string_t& text) override {
    return add(Value(Value::Written{text}));
  }
  bool string(string_t& text) override { return takes(text) && add(Value(std::move(text))); }
  bool binary(binary_t& /*bytes*/) override { return false; }
  bool start_object(std::size_t /*size*/) override { return open(Value(Value::Object{})); }
  bool key(string_t& name) override {
    if (!takes(name)) return false;
    std::get<Value::Object>(open_.back().held_).emplace_back(std::move(name), Value());
    return true;
  }
  bool end_object() override { return has_distinct_names() && close(); }
  bool start_array(std::size_t /*size*/) override { return open(Value(Value::Array{})); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t byte, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    byte_ = std::min(byte, size_);
    return refuse(byte > size_ ? "it ends before it is complete"
                               : fmt::format("byte {} is not as it must be", byte_));
  }

  [[nodiscard]] Value take() { return std::move(whole_); }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  [[nodiscard]] std::size_t byte() const { return byte_; }

 private:
  static constexpr std::size_t kShownName = 64;

  bool takes(const std::string& text) {
    return limits_.nul_characters || text.find('\0') == std::string::npos ||
           refuse("a text has a NUL character in it");
  }
  bool refuse(std::string why) {
    trouble_ = std::move(why);
    return false;
  }
  /// Of a whole object at once: to look for each name among those before it takes a minute
  /// of a message that has a hundred thousand.
  bool has_distinct_names() {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : std::get<Value::Object>(open_.back().held_)) {
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    return twice == names.end() ||
           refuse(fmt::format("two members have the name \"{}\"", twice->substr(0, kShownName)));
  }
  bool add(Value value) {
    if (++values_ > limits_.values) {
      return refuse(fmt::format("more than {} values", limits_.values));
    }
    if (open_.empty()) {
      whole_ = std::move(value);
    } else if (auto* items = std::get_if<Value::Array>(&open_.back().held_)) {
      items->push_back(std::move(value));
    } else {
      std::get<Value::Object>(open_.back().held_).back().second = std::move(value);
    }
    return true;
  }
  bool open(Value value) {
    if (open_.size() >= limits_.depth) {
      return refuse(fmt::format("nested deeper than {}", limits_.depth));
    }
    open_.push_back(std::move(value));
    return true;
  }
  bool close() {
    Value done = std::move(open_.back());
    open_.pop_back();
    return add(std::move(done));
  }

  ParseLimits limits_;
  std::size_t size_;
  std::vector<Value> open_;
  Value whole_;
  std::size_t values_ = 0;
  std::size_t byte_ = 0;
  std::string trouble_;
};

const Value* Value::member(std::string_view name) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  const auto found = std::find_if(members->begin(), members->end(),
                                  [&](const Member& m) { return m.first == name; });
  return found == members->end() ? nullptr : &found->second;
}

std::string Value::json() const {
  std::string out;
  append_json(out);
  return out;
}

void Value::append_json(std::string& out) const {
  const auto write = [&](const auto& held) {
    using Held = std::remove_cvref_t<decltype(held)>;
    if constexpr (std::is_same_v<Held, std::monostate>) {
      out += "null";
    } else if constexpr (std::is_same_v<Held, Array>) {
      char before = '[';
      for (const Value& item : held) {
        out += std::exchange(before, ',');
        item.append_json(out);
      }
      out += held.empty() ? "[]" : "]";
    } else if constexpr (std::is_same_v<Held, Object>) {
      char before = '{';
      for (const Member& one : held) {
        out += std::exchange(before, ',');
        out += dump(Json(one.first), -1) + ":";
        one.second.append_json(out);
      }
      out += held.empty() ? "{}" : "}";
    } else if constexpr (std::is_same_v<Held, Made>) {
      out += held.json;
    } else if constexpr (std::is_same_v<Held, Written>) {
      out += held.number;
    } else {
      out += dump(Json(held), -1);
    }
  };
  std::visit(write, held_);
}

std::string Value::pretty() const { return dump(Json::parse(json()), 2); }

Value parse_json(std::string_view text, const ParseLimits& limits) {
  ValueBuilder builder(limits, text.size());
  if (nlohmann::json::sax_parse(text, &builder)) return builder.take();
  throw ParseError("not a JSON document as it is taken here: " + builder.trouble(), builder.byte());
}

}  // namespace chronovisor::api
