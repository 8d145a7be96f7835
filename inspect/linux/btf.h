// Owns the reading of BTF, the type information that a Linux kernel carries for
// itself. Untrusted input: every index and length is checked. Knows no machine.
// Immutable once made; any thread.
// Source: Linux, Documentation/bpf/btf.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace chronovisor::linux_guest {

/// Where a member lies in its outermost structure.
struct Field {
  std::uint64_t bit_offset = 0;
  std::uint64_t bit_size = 0;
  std::uint32_t type = 0;

  [[nodiscard]] std::uint64_t offset() const { return bit_offset / 8; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(bit_size / 8); }
};

class Btf {
 public:
  /// `data` begins with the BTF header; more may follow. Throws Error{bad_input}.
  explicit Btf(ByteView data);

  /// A member by its path through nested and anonymous structures, as in
  /// field("task_struct", "se.vruntime"). Nothing when there is none such.
  [[nodiscard]] std::optional<Field> field(std::string_view structure, std::string_view path) const;
  /// As field(). Throws Error{bad_input} naming what is missing.
  [[nodiscard]] Field need(std::string_view structure, std::string_view path) const;
  /// Size in bytes of a structure; 0 when there is none such.
  [[nodiscard]] std::uint64_t size_of(std::string_view structure) const;
  [[nodiscard]] std::size_t type_count() const { return types_.size(); }

 private:
  struct Member {
    std::uint32_t name = 0;
    std::uint32_t type = 0;
    std::uint32_t bit_offset = 0;
    std::uint32_t bitfield_bits = 0;
  };
  struct Type {
    std::uint32_t name = 0;
    std::uint8_t kind = 0;
    std::uint32_t size_or_type = 0;
    std::uint32_t elements = 0;      ///< of an array
    std::uint32_t first_member = 0;  ///< in members_
    std::uint32_t member_count = 0;
  };

  [[nodiscard]] std::string_view name_of(std::uint32_t offset) const;
  [[nodiscard]] std::uint32_t strip(std::uint32_t type) const;
  [[nodiscard]] std::uint64_t bytes_of(std::uint32_t type, unsigned depth) const;
  [[nodiscard]] std::optional<Field> find_member(std::uint32_t structure, std::string_view name,
                                                 unsigned depth) const;
  [[nodiscard]] std::optional<std::uint32_t> structure_named(std::string_view name) const;

  std::vector<char> strings_;  ///< with a NUL at the end; moving it keeps the views valid
  std::vector<Type> types_;    ///< number 0 is void
  std::vector<Member> members_;
  std::unordered_map<std::string_view, std::uint32_t> structures_;  ///< only looked up
};

/// The kernel's own BTF somewhere in its image. Throws Error{bad_input} when
/// there is none.
[[nodiscard]] Btf find_btf(ByteView image);

}  // namespace chronovisor::linux_guest
