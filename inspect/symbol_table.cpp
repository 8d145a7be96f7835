#include "inspect/symbol_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "inspect/elf_file.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kFarthest = 1U << 20;
constexpr std::size_t kMostSymbols = 4'000'000;

// ELF's numbers.
constexpr std::uint32_t kSectionSymbols = 2;
constexpr std::uint8_t kTypeObject = 1, kTypeFunction = 2, kTypeNone = 0;
constexpr std::uint16_t kUndefined = 0;

}  // namespace

void SymbolTable::add(std::vector<Symbol> symbols) {
  symbols_.insert(symbols_.end(), std::make_move_iterator(symbols.begin()),
                  std::make_move_iterator(symbols.end()));
  std::stable_sort(symbols_.begin(), symbols_.end(),
                   [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
  by_name_.clear();
  for (const Symbol& symbol : symbols_) by_name_.emplace(symbol.name, symbol.address);
}

std::optional<std::uint64_t> SymbolTable::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

std::optional<SymbolTable::Place> SymbolTable::at(std::uint64_t address) const {
  const auto after =
      std::upper_bound(symbols_.begin(), symbols_.end(), address,
                       [](std::uint64_t wanted, const Symbol& s) { return wanted < s.address; });
  if (after == symbols_.begin()) return std::nullopt;
  // Of several at one address the first is meant: the others are its aliases.
  auto best = std::prev(after);
  while (best != symbols_.begin() && std::prev(best)->address == best->address) --best;
  const std::uint64_t offset = address - best->address;
  if (offset > kFarthest || (best->size != 0 && offset >= best->size)) return std::nullopt;
  return Place{&*best, offset};
}

std::string SymbolTable::text_at(std::uint64_t address) const {
  const auto place = at(address);
  if (!place) return {};
  return place->offset == 0 ? place->symbol->name
                            : fmt::format("{}+{:#x}", place->symbol->name, place->offset);
}

std::vector<Symbol> elf_symbols(ByteView file, const std::string& name) {
  const ElfFile elf(file, name);
  const bool wide = elf.wide();
  const std::uint64_t entry = wide ? 24 : 16;
  const std::vector<ElfFile::Section>& sections = elf.sections();
  std::vector<Symbol> symbols;
  for (const ElfFile::Section& section : sections) {
    if (section.type != kSectionSymbols || section.link >= sections.size()) continue;
    const ElfFile::Section& strings = sections[section.link];
    const ByteView names = elf.part(strings.offset, strings.size);
    if (section.size / entry > kMostSymbols) elf.refuse("has too many symbols");
    static_cast<void>(elf.part(section.offset, section.size));
    for (std::uint64_t n = 0; n < section.size / entry; ++n) {
      const std::uint64_t at = section.offset + n * entry;
      const auto type = static_cast<std::uint8_t>(elf.number(at + (wide ? 4 : 12), 1) & 0xf);
      const std::uint64_t home = elf.number(at + (wide ? 6 : 14), 2);
      if (home == kUndefined) continue;
      if (type != kTypeNone && type != kTypeObject && type != kTypeFunction) continue;
      Symbol symbol{elf.word(at + (wide ? 8 : 4)), elf.word(at + (wide ? 16 : 8)),
                    text_in(names, elf.number(at, 4))};
      if (!symbol.name.empty()) symbols.push_back(std::move(symbol));
    }
  }
  return symbols;
}

}  // namespace chronovisor
