#include "inspect/linux/symbol_file.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace chronovisor::linux_guest {
namespace {

constexpr std::uint64_t kKernelSpace = 0xffff800000000000ULL;
constexpr std::uint64_t kHeaderBytes = 64;
constexpr std::uint64_t kSymbolBytes = 24;
/// Larger gaps between symbols are not the size of the first.
constexpr std::uint64_t kLargestSymbol = 1U << 20;
constexpr std::uint16_t kAbsolute = 0xfff1;

bool is_code(char type) { return type == 't' || type == 'T' || type == 'w' || type == 'W'; }
bool is_global(char type) { return type >= 'A' && type <= 'Z'; }

/// Section headers and their names, in order.
class Sections {
 public:
  Sections() { add("", 0, 0, 0, 0, 0, 0, 0, 0, 0); }

  void add(std::string_view name, std::uint32_t type, std::uint64_t flags, std::uint64_t address,
           std::uint64_t offset, std::uint64_t size, std::uint32_t link, std::uint32_t info,
           std::uint64_t alignment, std::uint64_t entry) {
    headers_.integer(static_cast<std::uint32_t>(names_.size()));
    headers_.integer(type);
    for (const std::uint64_t value : {flags, address, offset, size}) headers_.integer(value);
    headers_.integer(link);
    headers_.integer(info);
    headers_.integer(alignment);
    headers_.integer(entry);
    names_.append(name);
    names_.push_back('\0');
    ++count_;
  }
  [[nodiscard]] const std::string& names() const { return names_; }
  [[nodiscard]] const Bytes& headers() const { return headers_.data(); }
  [[nodiscard]] std::uint16_t count() const { return count_; }

 private:
  ByteWriter headers_;
  std::string names_;
  std::uint16_t count_ = 0;
};

struct SymbolTable {
  ByteWriter entries;
  std::string strings = std::string(1, '\0');
  std::uint32_t locals = 1;
};

SymbolTable make_table(std::vector<KernelSymbol>& symbols,
                       const std::vector<SymbolRegion>& regions) {
  std::stable_sort(
      symbols.begin(), symbols.end(),
      [](const KernelSymbol& a, const KernelSymbol& b) { return a.address < b.address; });
  SymbolTable table;
  for (std::size_t n = 0; n < kSymbolBytes; ++n) table.entries.integer(std::uint8_t{0});
  for (const bool global : {false, true}) {
    for (std::size_t n = 0; n < symbols.size(); ++n) {
      const KernelSymbol& symbol = symbols[n];
      if (is_global(symbol.type) != global) continue;
      std::size_t next = n + 1;
      while (next < symbols.size() && symbols[next].address == symbol.address) ++next;
      const std::uint64_t gap = next < symbols.size() ? symbols[next].address - symbol.address : 0;
      const auto region = std::find_if(regions.begin(), regions.end(), [&](const SymbolRegion& r) {
        return symbol.address >= r.start && symbol.address < r.end;
      });
      // Elsewhere below the kernel there are only offsets of per-CPU variables.
      if (symbol.address < kKernelSpace && region == regions.end()) continue;
      const auto section = region == regions.end()
                               ? kAbsolute
                               : static_cast<std::uint16_t>(region - regions.begin() + 1);
      table.entries.integer(static_cast<std::uint32_t>(table.strings.size()));
      table.entries.integer(
          static_cast<std::uint8_t>((global ? 0x10 : 0) | (is_code(symbol.type) ? 2 : 1)));
      table.entries.integer(std::uint8_t{0});
      table.entries.integer(section);
      table.entries.integer(symbol.address);
      table.entries.integer(gap < kLargestSymbol ? gap : 0);
      table.strings += symbol.name;
      table.strings.push_back('\0');
      if (!global) ++table.locals;
    }
  }
  return table;
}

void pad_to_8(ByteWriter& out) {
  while (out.size() % 8 != 0) out.integer(std::uint8_t{0});
}

}  // namespace

Bytes make_symbol_file(std::vector<KernelSymbol> symbols, const std::vector<SymbolRegion>& regions,
                       ByteView frames) {
  const SymbolTable table = make_table(symbols, regions);
  ByteWriter body;
  const auto put = [&](ByteView bytes) {
    const std::uint64_t at = kHeaderBytes + body.size();
    body.bytes(bytes);
    pad_to_8(body);
    return at;
  };
  Sections sections;
  for (const SymbolRegion& region : regions) {
    // SHT_NOBITS: the bytes are the guest's. Flags: allocated, and executable or writable.
    sections.add(region.name, 8, region.code ? 6 : 3, region.start, kHeaderBytes,
                 region.end - region.start, 0, 0, 16, 0);
  }
  const auto strings_index = static_cast<std::uint32_t>(regions.size() + 2);
  const std::uint64_t symbols_at = put(table.entries.data());
  sections.add(".symtab", 2, 0, 0, symbols_at, table.entries.size(), strings_index, table.locals, 8,
               kSymbolBytes);
  sections.add(".strtab", 3, 0, 0, put(as_bytes(table.strings)), table.strings.size(), 0, 0, 1, 0);
  if (!frames.empty())
    sections.add(".debug_frame", 1, 0, 0, put(frames), frames.size(), 0, 0, 8, 0);
  const std::uint64_t names_at = kHeaderBytes + body.size();
  constexpr std::string_view kNames = ".shstrtab";
  sections.add(kNames, 3, 0, 0, names_at, sections.names().size() + kNames.size() + 1, 0, 0, 1, 0);
  put(as_bytes(sections.names()));
  const std::uint64_t headers_at = kHeaderBytes + body.size();
  body.bytes(sections.headers());

  ByteWriter file;
  constexpr std::string_view kIdentification(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  file.bytes(as_bytes(kIdentification));
  while (file.size() < 16) file.integer(std::uint8_t{0});
  file.integer(std::uint16_t{2});   // ET_EXEC
  file.integer(std::uint16_t{62});  // EM_X86_64
  file.integer(std::uint32_t{1});
  file.integer(regions.empty() ? std::uint64_t{0} : regions.front().start);
  file.integer(std::uint64_t{0});
  file.integer(headers_at);
  file.integer(std::uint32_t{0});
  file.integer(static_cast<std::uint16_t>(kHeaderBytes));
  file.integer(std::uint16_t{0});
  file.integer(std::uint16_t{0});
  file.integer(std::uint16_t{64});
  file.integer(sections.count());
  file.integer(static_cast<std::uint16_t>(sections.count() - 1));
  file.bytes(body.data());
  return file.take();
}

std::vector<SymbolRegion> kernel_regions(const std::vector<KernelSymbol>& symbols) {
  const auto address = [&](std::string_view name, std::uint64_t otherwise) {
    const auto found =
        std::find_if(symbols.begin(), symbols.end(),
                     [&](const KernelSymbol& symbol) { return symbol.name == name; });
    return found == symbols.end() ? otherwise : found->address;
  };
  const std::uint64_t first = address("_text", address("_stext", 0));
  if (first == 0) throw Error(ErrorCode::bad_input, "the kernel has no symbol _text");
  const std::uint64_t last = address("_end", first);
  const std::uint64_t text_end = address("_etext", last);
  const std::uint64_t init = address("_sinittext", text_end);
  const std::uint64_t init_end = address("_einittext", init);
  // Debuggers believe a section's flags before a symbol's type, so the code of
  // the init section has a section of its own.
  return {{".text", first, text_end, true},
          {".data", text_end, init, false},
          {".init.text", init, init_end, true},
          {".bss", init_end, last, false}};
}

}  // namespace chronovisor::linux_guest
