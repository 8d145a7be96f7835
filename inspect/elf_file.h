// Owns how the parts of an ELF file of a PC are found: integers of either class, each read
// within the file's bounds, and sections. Untrusted input. Source: System V ABI, "Object
// Files".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

class ElfFile {
 public:
  struct Section {
    std::uint32_t name = 0;  ///< where its name is in the section of names
    std::uint32_t type = 0;
    std::uint64_t flags = 0;
    std::uint64_t offset = 0, size = 0;
    std::uint32_t link = 0;
  };

  /// Both must outlive this. Throws Error{bad_input}, beginning with `name`, as all here does.
  ElfFile(ByteView file, const std::string& name);

  [[nodiscard]] bool wide() const { return wide_; }
  [[nodiscard]] const std::vector<Section>& sections() const { return sections_; }
  [[nodiscard]] std::uint64_t number(std::uint64_t at, std::size_t bytes) const;
  /// An address or offset: 4 or 8 bytes.
  [[nodiscard]] std::uint64_t word(std::uint64_t at) const { return number(at, wide_ ? 8 : 4); }
  [[nodiscard]] ByteView part(std::uint64_t at, std::uint64_t bytes) const;
  /// Its bytes; empty when there is none of this name, or it is compressed.
  [[nodiscard]] ByteView section(const char* name) const;
  [[noreturn]] void refuse(const char* why) const;

 private:
  void read_sections();

  ByteView file_;
  const std::string& name_;
  bool wide_ = false;
  std::vector<Section> sections_;
};

/// The text that begins there and ends with a NUL, or where the bytes or 4,096 of them do.
[[nodiscard]] std::string text_in(ByteView bytes, std::uint64_t at);

}  // namespace chronovisor
