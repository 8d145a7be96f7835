#include "inspect/line_table.h"

#include <algorithm>
#include <utility>

#include "inspect/elf_file.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostRows = 16'000'000;
constexpr std::uint64_t kMostNames = 1U << 16;  ///< folders or files of one unit

// DWARF's numbers.
enum Form : std::uint64_t {
  form_data2 = 0x05,
  form_data4 = 0x06,
  form_data8 = 0x07,
  form_string = 0x08,
  form_block = 0x09,
  form_data1 = 0x0b,
  form_strp = 0x0e,
  form_udata = 0x0f,
  form_data16 = 0x1e,
  form_line_strp = 0x1f,
};
constexpr std::uint64_t kContentPath = 1, kContentFolder = 2;
enum Standard : std::uint8_t {
  copy = 1,
  advance_pc,
  advance_line,
  set_file,
  set_column,
  negate_statement,
  set_basic_block,
  const_add_pc,
  fixed_advance_pc,
};
constexpr std::uint8_t kEndSequence = 1, kSetAddress = 2;

/// Thrown where a unit goes on beyond its end, or is of a kind that is not known.
struct NotUnderstood {};

class Reader {
 public:
  explicit Reader(ByteView bytes) : bytes_(bytes) {}

  [[nodiscard]] bool done() const { return bytes_.empty(); }
  ByteView take(std::uint64_t count) {
    if (count > bytes_.size()) throw NotUnderstood{};
    const ByteView taken = bytes_.first(static_cast<std::size_t>(count));
    bytes_ = bytes_.subspan(static_cast<std::size_t>(count));
    return taken;
  }
  std::uint64_t number(std::size_t count) {
    const ByteView raw = take(count);
    std::uint64_t value = 0;
    for (std::size_t n = count; n-- > 0;) value = value << 8 | raw[n];
    return value;
  }
  std::uint8_t byte() { return static_cast<std::uint8_t>(number(1)); }
  std::uint64_t uleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const std::uint8_t next = byte();
      if (shift < 64) value |= std::uint64_t{next & 0x7fU} << shift;
      if ((next & 0x80U) == 0) return value;
    }
  }
  std::int64_t sleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;;) {
      const std::uint8_t next = byte();
      if (shift < 64) value |= std::uint64_t{next & 0x7fU} << shift;
      shift += 7;
      if ((next & 0x80U) != 0) continue;
      if (shift < 64 && (next & 0x40U) != 0) value |= ~std::uint64_t{0} << shift;
      return static_cast<std::int64_t>(value);
    }
  }
  std::string text() {
    std::string text = text_in(bytes_, 0);
    take(text.size());
    if (byte() != 0) throw NotUnderstood{};
    return text;
  }

 private:
  ByteView bytes_;
};

struct Texts {
  ByteView strings, line_strings;
};

/// One unit's program, and what stands before it.
class Unit {
 public:
  Unit(Reader unit, bool wide, const Texts& texts) : unit_(unit), wide_(wide), texts_(texts) {
    version_ = unit_.number(2);
    if (version_ < 2 || version_ > 5) throw NotUnderstood{};
    if (version_ == 5) address_size_ = unit_.number(2) & 0xff;  // and no segment selectors
    const std::uint64_t header = unit_.number(wide_ ? 8 : 4);
    Reader head(unit_.take(header));
    least_instruction_ = head.byte();
    if (version_ >= 4) head.byte();
    head.byte();
    line_base_ = static_cast<std::int8_t>(head.byte());
    line_range_ = head.byte();
    opcode_base_ = head.byte();
    if (line_range_ == 0 || opcode_base_ == 0) throw NotUnderstood{};
    lengths_.resize(opcode_base_);
    for (std::size_t n = 1; n < opcode_base_; ++n) lengths_[n] = head.byte();
    if (version_ == 5) {
      names_of_five(head);
    } else {
      names_of_before(head);
    }
  }

  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }

  /// Calls `row(address, file, line)`, the line 0 at a sequence's end.
  template <typename Row>
  void run(Row row) {
    std::uint64_t address = 0, file = 1, line = 1;
    while (!unit_.done()) {
      const std::uint8_t opcode = unit_.byte();
      if (opcode >= opcode_base_) {
        const unsigned adjusted = opcode - opcode_base_;
        address += std::uint64_t{adjusted / line_range_} * least_instruction_;
        line += static_cast<std::uint64_t>(std::int64_t{line_base_} + adjusted % line_range_);
        row(address, file, line);
      } else if (opcode == 0) {
        Reader extended(unit_.take(unit_.uleb()));
        const std::uint8_t kind = extended.byte();
        if (kind == kSetAddress) address = extended.number(address_size_);
        if (kind == kEndSequence) {
          row(address, file, 0);
          address = 0;
          file = line = 1;
        }
      } else if (opcode == copy) {
        row(address, file, line);
      } else if (opcode == advance_pc) {
        address += unit_.uleb() * least_instruction_;
      } else if (opcode == advance_line) {
        line += static_cast<std::uint64_t>(unit_.sleb());
      } else if (opcode == set_file) {
        file = unit_.uleb();
      } else if (opcode == const_add_pc) {
        address += std::uint64_t{(255U - opcode_base_) / line_range_} * least_instruction_;
      } else if (opcode == fixed_advance_pc) {
        address += unit_.number(2);
      } else {
        for (unsigned n = 0; n < lengths_[opcode]; ++n) unit_.uleb();
      }
    }
  }

  void addresses_of(bool wide_file) {
    if (version_ < 5) address_size_ = wide_file ? 8 : 4;
    if (address_size_ != 4 && address_size_ != 8) throw NotUnderstood{};
  }

 private:
  void names_of_before(Reader& head) {
    std::vector<std::string> folders{""};
    while (true) {
      std::string folder = head.text();
      if (folder.empty()) break;
      if (folders.size() > kMostNames) throw NotUnderstood{};
      folders.push_back(std::move(folder));
    }
    files_.emplace_back();
    while (true) {
      std::string file = head.text();
      if (file.empty()) break;
      if (files_.size() > kMostNames) throw NotUnderstood{};
      const std::uint64_t folder = head.uleb();
      head.uleb();
      head.uleb();
      files_.push_back(joined(folders, folder, file));
    }
  }

  void names_of_five(Reader& head) {
    std::vector<std::string> folders;
    entries(head, [&](std::string path, std::uint64_t) { folders.push_back(std::move(path)); });
    // The first folder is where it was compiled: names are told from there.
    if (!folders.empty()) folders[0].clear();
    entries(head, [&](const std::string& path, std::uint64_t folder) {
      files_.push_back(joined(folders, folder, path));
    });
  }

  template <typename Take>
  void entries(Reader& head, Take take) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> formats(head.byte());
    for (auto& [content, form] : formats) {
      content = head.uleb();
      form = head.uleb();
    }
    const std::uint64_t count = head.uleb();
    if (count > kMostNames) throw NotUnderstood{};
    for (std::uint64_t n = 0; n < count; ++n) {
      std::string path;
      std::uint64_t folder = 0;
      for (const auto& [content, form] : formats) {
        std::string text;
        const std::uint64_t value = value_of(head, form, text);
        if (content == kContentPath) path = std::move(text);
        if (content == kContentFolder) folder = value;
      }
      take(std::move(path), folder);
    }
  }

  std::uint64_t value_of(Reader& head, std::uint64_t form, std::string& text) {
    switch (form) {
      case form_string:
        text = head.text();
        return 0;
      case form_strp:
        text = text_in(texts_.strings, head.number(wide_ ? 8 : 4));
        return 0;
      case form_line_strp:
        text = text_in(texts_.line_strings, head.number(wide_ ? 8 : 4));
        return 0;
      case form_udata:
        return head.uleb();
      case form_data1:
        return head.number(1);
      case form_data2:
        return head.number(2);
      case form_data4:
        return head.number(4);
      case form_data8:
        return head.number(8);
      case form_data16:
        head.take(16);
        return 0;
      case form_block:
        head.take(head.uleb());
        return 0;
      default:
        throw NotUnderstood{};
    }
  }

  static std::string joined(const std::vector<std::string>& folders, std::uint64_t folder,
                            const std::string& file) {
    if (file.starts_with('/') || folder >= folders.size() ||
        folders[static_cast<std::size_t>(folder)].empty()) {
      return file;
    }
    return folders[static_cast<std::size_t>(folder)] + "/" + file;
  }

  Reader unit_;
  bool wide_;
  const Texts& texts_;
  std::uint64_t version_ = 0;
  std::uint64_t address_size_ = 8;
  std::uint8_t least_instruction_ = 1, line_range_ = 1, opcode_base_ = 1;
  std::int8_t line_base_ = 0;
  std::vector<std::uint8_t> lengths_;
  std::vector<std::string> files_;
};

}  // namespace

void LineTable::add(ByteView file, const std::string& name) {
  const ElfFile elf(file, name);
  const Texts texts{elf.section(".debug_str"), elf.section(".debug_line_str")};
  Reader units(elf.section(".debug_line"));
  try {
    while (!units.done()) {
      std::uint64_t length = units.number(4);
      const bool wide = length == 0xffff'ffff;
      if (wide) length = units.number(8);
      Unit unit(Reader(units.take(length)), wide, texts);
      unit.addresses_of(elf.wide());
      const std::size_t first = files_.size();
      files_.insert(files_.end(), unit.files().begin(), unit.files().end());
      unit.run([&](std::uint64_t address, std::uint64_t number, std::uint64_t line) {
        if (rows_.size() >= kMostRows) throw NotUnderstood{};
        if (number >= unit.files().size()) line = 0;
        rows_.push_back({address, static_cast<std::uint32_t>(line == 0 ? 0 : first + number),
                         static_cast<std::uint32_t>(line)});
      });
    }
  } catch (const NotUnderstood&) {
    // What came before is of use.
  }
  // Where one sequence ends and the next begins the beginning counts.
  std::stable_sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) {
    return a.address != b.address ? a.address < b.address : a.line == 0 && b.line != 0;
  });
}

std::optional<LineTable::Row> LineTable::at(std::uint64_t address) const {
  const auto after =
      std::upper_bound(rows_.begin(), rows_.end(), address,
                       [](std::uint64_t wanted, const Row& row) { return wanted < row.address; });
  if (after == rows_.begin() || std::prev(after)->line == 0) return std::nullopt;
  return *std::prev(after);
}

std::vector<LineTable::Row> LineTable::within(std::uint64_t address, std::uint64_t length) const {
  std::vector<Row> found;
  if (const auto first = at(address)) found.push_back(*first);
  for (auto row = std::upper_bound(
           rows_.begin(), rows_.end(), address,
           [](std::uint64_t wanted, const Row&one) { return wanted < one.address; });
       row != rows_.end() && row->address - address < length; ++row) {
    found.push_back(*row);
  }
  return found;
}

}  // namespace chronovisor
