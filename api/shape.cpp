#include "api/shape.h"

namespace chronovisor::api::shape {

Value count() { return Value::Object{{"type", "integer"}, {"minimum", 0}}; }

Value flag() { return Value::Object{{"type", "boolean"}}; }

Value text() { return Value::Object{{"type", "string"}}; }

Value hex() { return Value::Object{{"type", "string"}, {"pattern", "^0x[0-9a-f]+$"}}; }

Value one_of(std::initializer_list<std::string_view> words) {
  Value::Array choices;
  for (const std::string_view word : words) choices.emplace_back(word);
  return Value::Object{{"type", "string"}, {"enum", std::move(choices)}};
}

Value list_of(Value item) { return Value::Object{{"type", "array"}, {"items", std::move(item)}}; }

Value or_null(Value value) {
  Value::Array choices;
  choices.push_back(std::move(value));
  choices.emplace_back(Value::Object{{"type", "null"}});
  return Value::Object{{"anyOf", std::move(choices)}};
}

Value anything() { return Value::Object{}; }

Value object(std::initializer_list<Field> fields) {
  Value::Object properties;
  Value::Array required;
  for (const Field& field : fields) {
    const bool optional = field.name.ends_with('?');
    const std::string name(field.name.substr(0, field.name.size() - (optional ? 1 : 0)));
    Value::Object shape = *field.shape.object();
    if (!field.description.empty()) shape.emplace_back("description", field.description);
    properties.emplace_back(name, std::move(shape));
    if (!optional) required.emplace_back(name);
  }
  return Value::Object{
      {"type", "object"}, {"properties", std::move(properties)}, {"required", std::move(required)}};
}

}  // namespace chronovisor::api::shape
