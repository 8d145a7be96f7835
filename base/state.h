// Owns the one way in which a piece of machine state is saved, restored,
// hashed and explained: an object shows its fields to a StateVisitor, once,
// and the visitor decides what happens to them. A saved section is
// self-describing (name, size, bytes for every field), so two of them can be
// compared field by field without the machine that wrote them.
//
//   section := { varint name_length, name, varint size, bytes } ...
//
// Integers are little-endian at their declared width. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

class StateVisitor {
 public:
  virtual ~StateVisitor() = default;

  /// Shows one field: an integer, bool or enum, or a std::array of them.
  /// Names are unique within a section.
  template <class T>
  void field(std::string_view name, T& value) {
    static_assert(std::has_unique_object_representations_v<T>,
                  "padding would leak uninitialised bytes into the digest");
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = value ? 1 : 0;  // untrusted bytes must not become a bool as they are
      raw(name, &byte, 1);
      value = byte != 0;
    } else {
      raw(name, &value, sizeof(T));
    }
  }
  template <class T>
  void field(std::string_view name, std::vector<T>& values, std::size_t most) {
    static_assert(std::has_unique_object_representations_v<T>);
    std::size_t count = values.size();
    list(name, sizeof(T), most, count, [&](std::size_t n) -> void* {
      values.resize(n);
      return values.data();
    });
  }

 protected:
  virtual void raw(std::string_view name, void* data, std::size_t size) = 0;
  /// `resize(n)` gives the list n elements and returns where they are.
  virtual void list(std::string_view name, std::size_t element_size, std::size_t most,
                    std::size_t count, const std::function<void*(std::size_t)>& resize) = 0;
};

/// A named part of a machine's state, as saved.
struct Section {
  std::string name;
  Bytes bytes;
  bool operator==(const Section&) const = default;
};

/// Collects fields into section bytes.
class StateSaver final : public StateVisitor {
 public:
  [[nodiscard]] Bytes take() { return out_.take(); }

 protected:
  void raw(std::string_view name, void* data, std::size_t size) override;
  void list(std::string_view name, std::size_t element_size, std::size_t most, std::size_t count,
            const std::function<void*(std::size_t)>& resize) override;

 private:
  ByteWriter out_;
};

/// Fills fields from section bytes. Throws Error{bad_input}, naming section
/// and field, when a field is missing, of another size, or (at finish) left
/// over.
class StateLoader final : public StateVisitor {
 public:
  StateLoader(ByteView section, std::string_view section_name);
  /// Call after the last field.
  void finish() const;

 protected:
  void raw(std::string_view name, void* data, std::size_t size) override;
  void list(std::string_view name, std::size_t element_size, std::size_t most, std::size_t count,
            const std::function<void*(std::size_t)>& resize) override;

 private:
  ByteView take(std::string_view name);
  std::string section_name_;
  std::map<std::string, ByteView, std::less<>> fields_;
  std::size_t used_ = 0;
};

struct FieldDifference {
  std::string field;
  Bytes left;  ///< empty when the field exists on the right only
  Bytes right;
};

/// Compares two saved sections field by field, in the order of the left one.
/// Throws Error{bad_input} on a malformed section.
[[nodiscard]] std::vector<FieldDifference> compare_sections(ByteView left, ByteView right,
                                                            std::string_view section_name);

}  // namespace chronovisor
