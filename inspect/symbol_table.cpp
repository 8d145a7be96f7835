#include "inspect/symbol_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kFarthest = 1U << 20;
constexpr std::size_t kMostSymbols = 4'000'000;
constexpr std::size_t kLongestName = 4096;

// ELF's numbers.
constexpr std::uint32_t kSectionSymbols = 2;
constexpr std::uint8_t kTypeObject = 1, kTypeFunction = 2, kTypeNone = 0;
constexpr std::uint16_t kUndefined = 0;

/// An ELF file's integers, of either class, each read within its bounds.
class ElfFile {
 public:
  ElfFile(ByteView file, const std::string& name) : file_(file), name_(name) {
    constexpr std::array<std::uint8_t, 4> kMagic{0x7f, 'E', 'L', 'F'};
    if (file.size() < 52 || !std::equal(kMagic.begin(), kMagic.end(), file.begin())) {
      refuse("is no ELF file");
    }
    wide_ = file[4] == 2;
    if ((file[4] != 1 && !wide_) || file[5] != 1) refuse("is an ELF file of another machine");
  }

  [[nodiscard]] bool wide() const { return wide_; }
  [[nodiscard]] std::uint64_t number(std::uint64_t at, std::size_t bytes) const {
    const ByteView raw = part(at, bytes);
    std::uint64_t value = 0;
    for (std::size_t n = bytes; n-- > 0;) value = value << 8 | raw[n];
    return value;
  }
  /// An address or offset: 4 or 8 bytes.
  [[nodiscard]] std::uint64_t word(std::uint64_t at) const { return number(at, wide_ ? 8 : 4); }
  [[nodiscard]] ByteView part(std::uint64_t at, std::uint64_t bytes) const {
    if (at > file_.size() || bytes > file_.size() - at) refuse("is cut short");
    return file_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(bytes));
  }
  [[noreturn]] void refuse(const char* why) const {
    throw Error(ErrorCode::bad_input, name_ + ": " + why);
  }

 private:
  ByteView file_;
  const std::string& name_;
  bool wide_ = false;
};

struct Section {
  std::uint32_t type = 0;
  std::uint64_t offset = 0, size = 0;
  std::uint32_t link = 0;
};

std::vector<Section> sections_of(const ElfFile& elf) {
  const bool wide = elf.wide();
  const std::uint64_t table = elf.word(wide ? 0x28 : 0x20);
  const std::uint64_t entry = elf.number(wide ? 0x3a : 0x2e, 2);
  const std::uint64_t count = elf.number(wide ? 0x3c : 0x30, 2);
  if (count != 0 && entry < (wide ? 64U : 40U)) elf.refuse("has a section table that cannot be");
  std::vector<Section> sections;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t at = table + n * entry;
    Section section;
    section.type = static_cast<std::uint32_t>(elf.number(at + 4, 4));
    section.offset = elf.word(at + (wide ? 0x18 : 0x10));
    section.size = elf.word(at + (wide ? 0x20 : 0x14));
    section.link = static_cast<std::uint32_t>(elf.number(at + (wide ? 0x28 : 0x18), 4));
    sections.push_back(section);
  }
  return sections;
}

std::string name_in(ByteView names, std::uint64_t at) {
  std::string name;
  for (; at < names.size() && names[at] != 0 && name.size() < kLongestName; ++at) {
    name += static_cast<char>(names[at]);
  }
  return name;
}

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
  const std::vector<Section> sections = sections_of(elf);
  std::vector<Symbol> symbols;
  for (const Section& section : sections) {
    if (section.type != kSectionSymbols || section.link >= sections.size()) continue;
    const Section& strings = sections[section.link];
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
                    name_in(names, elf.number(at, 4))};
      if (!symbol.name.empty()) symbols.push_back(std::move(symbol));
    }
  }
  return symbols;
}

}  // namespace chronovisor
