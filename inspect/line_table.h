// Owns which line of which source file an instruction comes from, as the debug information of
// an ELF file says. Filled first, then only looked at; any thread then.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

class LineTable {
 public:
  struct Row {
    std::uint64_t address = 0;
    std::uint32_t file = 0;  ///< its number among files()
    std::uint32_t line = 0;  ///< 0: from here on nothing is known
  };

  /// Adds the lines of an ELF file, by the addresses it is linked at; none where it has no
  /// debug information, or what cannot be understood. Untrusted input. Throws
  /// Error{bad_input}, beginning with `name`, for what is no ELF file of a PC.
  /// Source: DWARF Debugging Information Format 5, 6.2 "Line Number Information".
  void add(ByteView file, const std::string& name);

  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// Names as the compiler was given them, folders before them.
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
  /// The row that holds for the address.
  [[nodiscard]] std::optional<Row> at(std::uint64_t address) const;
  /// That row, and those that begin within [address, address + length).
  [[nodiscard]] std::vector<Row> within(std::uint64_t address, std::uint64_t length) const;

 private:
  std::vector<Row> rows_;  ///< by address
  std::vector<std::string> files_;
};

}  // namespace chronovisor
