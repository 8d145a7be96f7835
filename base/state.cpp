#include "base/state.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostNameBytes = 128;
constexpr std::size_t kMostFieldBytes = std::size_t{1} << 26;

struct Field {
  std::string name;
  ByteView value;
};

std::vector<Field> parse(ByteView section, std::string_view section_name) {
  std::vector<Field> fields;
  ByteReader reader(section, "state section " + std::string(section_name));
  while (!reader.at_end()) {
    std::string name = reader.sized_text(kMostNameBytes);
    const ByteView value = reader.sized_bytes(kMostFieldBytes);
    fields.push_back({std::move(name), value});
  }
  return fields;
}

}  // namespace

void StateSaver::raw(std::string_view name, void* data, std::size_t size) {
  out_.sized_text(name);
  out_.sized_bytes({static_cast<const std::uint8_t*>(data), size});
}

void StateSaver::list(std::string_view name, std::size_t element_size, std::size_t most,
                      std::size_t count, const std::function<void*(std::size_t)>& resize) {
  CHECK_THAT(count <= most, name);
  raw(name, resize(count), count * element_size);
}

StateLoader::StateLoader(ByteView section, std::string_view section_name)
    : section_name_(section_name) {
  for (Field& field : parse(section, section_name)) {
    if (!fields_.emplace(std::move(field.name), field.value).second) {
      throw Error(ErrorCode::bad_input,
                  "state section " + section_name_ + ": a field appears twice");
    }
  }
}

ByteView StateLoader::take(std::string_view name) {
  const auto found = fields_.find(name);
  if (found == fields_.end()) {
    throw Error(ErrorCode::bad_input,
                "state section " + section_name_ + ": field " + std::string(name) + " is missing");
  }
  ++used_;
  return found->second;
}

void StateLoader::raw(std::string_view name, void* data, std::size_t size) {
  const ByteView value = take(name);
  if (value.size() != size) {
    throw Error(ErrorCode::bad_input,
                "state section " + section_name_ + ": field " + std::string(name) + " has " +
                    std::to_string(value.size()) + " bytes, expected " + std::to_string(size));
  }
  std::memcpy(data, value.data(), size);
}

void StateLoader::list(std::string_view name, std::size_t element_size, std::size_t most,
                       std::size_t /*count*/, const std::function<void*(std::size_t)>& resize) {
  const ByteView value = take(name);
  const std::size_t count = value.size() / element_size;
  if (value.size() % element_size != 0 || count > most) {
    throw Error(ErrorCode::bad_input, "state section " + section_name_ + ": list " +
                                          std::string(name) + " has " +
                                          std::to_string(value.size()) + " bytes");
  }
  void* destination = resize(count);
  if (count != 0) std::memcpy(destination, value.data(), value.size());
}

void StateLoader::finish() const {
  if (used_ != fields_.size()) {
    throw Error(ErrorCode::bad_input, "state section " + section_name_ + ": " +
                                          std::to_string(fields_.size() - used_) +
                                          " fields are not known to this version");
  }
}

std::vector<FieldDifference> compare_sections(ByteView left, ByteView right,
                                              std::string_view section_name) {
  std::vector<FieldDifference> differences;
  const std::vector<Field> right_fields = parse(right, section_name);
  const std::vector<Field> left_fields = parse(left, section_name);
  const auto copy = [](ByteView view) { return Bytes(view.begin(), view.end()); };
  const auto find = [](const std::vector<Field>& fields, const std::string& name) {
    return std::find_if(fields.begin(), fields.end(),
                        [&](const Field& field) { return field.name == name; });
  };
  for (const Field& field : left_fields) {
    const auto other = find(right_fields, field.name);
    if (other == right_fields.end()) {
      differences.push_back({field.name, copy(field.value), {}});
    } else if (!std::equal(field.value.begin(), field.value.end(), other->value.begin(),
                           other->value.end())) {
      differences.push_back({field.name, copy(field.value), copy(other->value)});
    }
  }
  for (const Field& field : right_fields) {
    if (find(left_fields, field.name) == left_fields.end()) {
      differences.push_back({field.name, {}, copy(field.value)});
    }
  }
  return differences;
}

}  // namespace chronovisor
