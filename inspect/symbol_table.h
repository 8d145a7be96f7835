// Owns names for addresses, from wherever they come: a guest kernel's own table, or an
// ELF file. Knows no machine. Filled first, then only looked at; any thread then.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

struct Symbol {
  std::uint64_t address = 0;
  std::uint64_t size = 0;  ///< 0: up to the next symbol
  std::string name;
};

class SymbolTable {
 public:
  void add(std::vector<Symbol> symbols);

  [[nodiscard]] bool empty() const { return symbols_.empty(); }
  [[nodiscard]] std::size_t size() const { return symbols_.size(); }
  /// The first one of this name, by address.
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view name) const;

  struct Place {
    const Symbol* symbol = nullptr;
    std::uint64_t offset = 0;
  };
  /// The symbol that covers the address, the nearest before; nothing when there is none
  /// within a megabyte.
  [[nodiscard]] std::optional<Place> at(std::uint64_t address) const;
  /// "copy_text+0x12"; empty where there is none.
  [[nodiscard]] std::string text_at(std::uint64_t address) const;
  /// All, ascending by address.
  [[nodiscard]] const std::vector<Symbol>& all() const { return symbols_; }

 private:
  std::vector<Symbol> symbols_;
  std::unordered_map<std::string, std::uint64_t> by_name_;  ///< only looked up
};

/// The functions and objects that an ELF file's symbol table names, by the addresses it
/// is linked at; empty when it has none. Untrusted input. Throws Error{bad_input},
/// beginning with `name`, for what is no ELF file of a PC.
/// Source: System V ABI, "Object Files", "Symbol Table".
[[nodiscard]] std::vector<Symbol> elf_symbols(ByteView file, const std::string& name);

}  // namespace chronovisor
