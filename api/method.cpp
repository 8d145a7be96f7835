#include "api/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/shape.h"
#include "session/place.h"

namespace chronovisor::api {
namespace {

constexpr std::size_t kMostTextBytes = 4096;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw CallError(CallFault::wrong_parameters, name + ": " + why, "/params/" + name);
}

/// A number in C's notation, all of it.
std::optional<std::uint64_t> number_in(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, trouble] =
      std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (trouble != std::errc{} || end != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

bool begins_like_a_number(std::string_view text) {
  return !text.empty() && text.front() >= '0' && text.front() <= '9';
}

}  // namespace

const char* effect_word(Effect effect) {
  switch (effect) {
    case Effect::looks:
      return "looks";
    case Effect::travels:
      return "travels";
    case Effect::sets:
      return "sets";
    case Effect::changes:
      return "changes";
  }
  return "changes";
}

Value Method::parameters_shape() const {
  Value::Object properties;
  Value::Array required;
  for (const Parameter& parameter : parameters) {
    Value::Object shape = *parameter.shape.object();
    shape.emplace_back("description", parameter.description);
    if (!parameter.standard.is_null()) shape.emplace_back("default", parameter.standard);
    properties.emplace_back(parameter.name, std::move(shape));
    if (parameter.required) required.emplace_back(parameter.name);
  }
  Value::Object all{{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) all.emplace_back("required", std::move(required));
  all.emplace_back("additionalProperties", false);
  return all;
}

namespace read {

std::uint64_t count(const Value& value, const std::string& name, Range range) {
  const std::uint64_t* number = value.count();
  if (number == nullptr || *number < range.least || *number > range.most) {
    refuse(name,
           range.most == Range{}.most
               ? fmt::format("must be a whole number from {}", range.least)
               : fmt::format("must be a whole number from {} to {}", range.least, range.most));
  }
  return *number;
}

std::uint64_t address(const Value& value, const std::string& name, const AddressNames& names) {
  if (const std::uint64_t* number = value.count()) return *number;
  const std::string* text = value.text();
  if (text == nullptr || text->empty() || text->size() > kMostTextBytes) {
    refuse(name, "must be an address: a number, \"0x...\", or a symbol, and \"+NUMBER\" behind it");
  }
  const std::size_t plus = text->rfind('+');
  const std::string base = text->substr(0, plus);
  std::uint64_t offset = 0;
  if (plus != std::string::npos) {
    const auto number = number_in(std::string_view(*text).substr(plus + 1));
    if (!number) refuse(name, "\"" + *text + "\" has no number behind the +");
    offset = *number;
  }
  if (begins_like_a_number(base)) {
    const auto number = number_in(base);
    if (!number) refuse(name, "\"" + base + "\" is no number of 64 bits");
    return *number + offset;
  }
  try {
    return names(base) + offset;
  } catch (const CallError& error) {
    throw CallError(error.fault(), name + ": " + error.what(), "/params/" + name);
  }
}

bool flag(const Value& value, const std::string& name) {
  const bool* flag = value.flag();
  if (flag == nullptr) refuse(name, "must be true or false");
  return *flag;
}

std::string text(const Value& value, const std::string& name) {
  const std::string* text = value.text();
  if (text == nullptr) refuse(name, "must be a text");
  if (text->size() > kMostTextBytes) {
    refuse(name, fmt::format("is longer than {} bytes", kMostTextBytes));
  }
  return *text;
}

std::string place(const Value& value, const std::string& name) {
  if (const std::uint64_t* number = value.count()) return std::to_string(*number);
  if (value.text() == nullptr) refuse(name, "must be " + std::string(kPlaceWords));
  return text(value, name);
}

std::size_t choice(const Value& value, const std::string& name,
                   std::span<const std::string> words) {
  const std::string* text = value.text();
  const auto found = text == nullptr ? words.end() : std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "\"" : ", \"") + word + "\"";
  refuse(name, "must be one of " + all);
}

}  // namespace read

namespace shape {

Value count_within(Range range) {
  Value::Object shape{{"type", "integer"}, {"minimum", range.least}};
  if (range.most != Range{}.most) shape.emplace_back("maximum", range.most);
  return shape;
}

Value address() {
  Value::Array types{Value("integer"), Value("string")};
  return Value::Object{{"type", std::move(types)}, {"minimum", 0}, {"maxLength", 4096}};
}

Value place() { return address(); }

Value choice_of(std::span<const std::string> words) {
  Value::Array choices;
  for (const std::string& word : words) choices.emplace_back(word);
  return Value::Object{{"type", "string"}, {"enum", std::move(choices)}};
}

}  // namespace shape

std::vector<std::pair<std::size_t, const Value*>> given_parameters(const Method& method,
                                                                   const Value& parameters) {
  std::vector<std::pair<std::size_t, const Value*>> given;
  std::vector<bool> there(method.parameters.size());
  if (!parameters.is_null()) {
    if (parameters.object() == nullptr) {
      throw CallError(CallFault::wrong_parameters,
                      method.name + ": parameters are given by name, as an object", "/params");
    }
    for (const Value::Member& member : *parameters.object()) {
      const auto found =
          std::find_if(method.parameters.begin(), method.parameters.end(),
                       [&](const Parameter& parameter) { return parameter.name == member.first; });
      if (found == method.parameters.end()) {
        std::string all;
        for (const Parameter& p : method.parameters) all += (all.empty() ? "" : ", ") + p.name;
        const std::string name = member.first.substr(0, 64);
        throw CallError(CallFault::wrong_parameters,
                        fmt::format("{} takes no \"{}\"; it takes {}", method.name, name,
                                    all.empty() ? "nothing" : all),
                        "/params/" + name);
      }
      const auto number = static_cast<std::size_t>(found - method.parameters.begin());
      // As if it were not there: many clients write out what they leave open.
      if (member.second.is_null() && !found->required) continue;
      there[number] = true;
      given.emplace_back(number, &member.second);
    }
  }
  for (std::size_t n = 0; n < there.size(); ++n) {
    if (there[n] || !method.parameters[n].required) continue;
    throw CallError(CallFault::wrong_parameters,
                    fmt::format("{} needs \"{}\": {}", method.name, method.parameters[n].name,
                                method.parameters[n].description),
                    "/params/" + method.parameters[n].name);
  }
  return given;
}

}  // namespace chronovisor::api
