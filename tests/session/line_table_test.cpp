#include "inspect/line_table.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

#include "base/error.h"

using namespace chronovisor;

namespace {

void put(Bytes& bytes, std::uint64_t value, int count) {
  for (int n = 0; n < count; ++n) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * n));
}
void put(Bytes& bytes, const std::string& text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.push_back(0);
}

/// A 64-bit ELF file with one section besides that of names.
Bytes elf_with(const std::string& name, const Bytes& content) {
  Bytes names{0};
  put(names, ".shstrtab");
  const std::size_t at = names.size();
  put(names, name);
  Bytes file{0x7f, 'E', 'L', 'F', 2, 1, 1};
  file.resize(0x28);
  put(file, 64 + names.size() + content.size(), 8);
  file.resize(0x3a);
  put(file, 64, 2);
  put(file, 3, 2);
  put(file, 1, 2);
  file.insert(file.end(), names.begin(), names.end());
  file.insert(file.end(), content.begin(), content.end());
  const auto section = [&](std::uint64_t text, std::uint64_t offset, std::uint64_t size) {
    put(file, text, 4);
    put(file, 1, 4);
    put(file, 0, 16);
    put(file, offset, 8);
    put(file, size, 8);
    put(file, 0, 24);
  };
  section(0, 0, 0);
  section(1, 64, names.size());
  section(at, 64 + names.size(), content.size());
  return file;
}

/// Version 4: a folder, two files; 0x1000 is a.c:10, 0x1004 is lib/b.h:3, 0x1009 ends.
Bytes line_program() {
  Bytes head;
  for (const int one : {1, 1, 1, 0xfb, 14, 13}) head.push_back(static_cast<std::uint8_t>(one));
  for (const int one : {0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1})
    head.push_back(static_cast<std::uint8_t>(one));
  put(head, "lib");
  head.push_back(0);
  put(head, "a.c");
  head.insert(head.end(), {0, 0, 0});
  put(head, "b.h");
  head.insert(head.end(), {1, 0, 0});
  head.push_back(0);
  Bytes program{0, 9, 2};
  put(program, 0x1000, 8);
  for (const int one : {3, 9, 1,        // line 10: a row
                        4, 2, 3, 0x79,  // file 2, line 3
                        2, 4, 1,        // 4 bytes on: a row
                        2, 5, 0, 1, 1}) {
    program.push_back(static_cast<std::uint8_t>(one));
  }
  Bytes unit;
  put(unit, 4, 2);
  put(unit, head.size(), 4);
  for (const Bytes* part : {&head, &program}) {
    for (const std::uint8_t byte : *part) unit.push_back(byte);
  }
  Bytes all;
  put(all, unit.size(), 4);
  for (const std::uint8_t byte : unit) all.push_back(byte);
  return all;
}

}  // namespace

TEST_CASE("instructions have the lines that a line program gives them") {
  LineTable table;
  table.add(elf_with(".debug_line", line_program()), "a");
  const auto text_at = [&](std::uint64_t address) {
    const auto row = table.at(address);
    return row ? table.files()[row->file] + ":" + std::to_string(row->line) : std::string("none");
  };
  CHECK(text_at(0xfff) == "none");
  CHECK(text_at(0x1000) == "a.c:10");
  CHECK(text_at(0x1003) == "a.c:10");
  CHECK(text_at(0x1004) == "lib/b.h:3");
  CHECK(text_at(0x1008) == "lib/b.h:3");
  CHECK(text_at(0x1009) == "none");
  CHECK(table.within(0x1002, 4).size() == 2);
  CHECK(table.within(0x1002, 2).size() == 1);
  CHECK(table.within(0x2000, 16).empty());
}

TEST_CASE("lines that are cut short or bent give fewer lines, and nothing worse") {
  const Bytes whole = line_program();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    LineTable table;
    table.add(elf_with(".debug_line",
                       Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
              "a");
    CHECK(table.within(0, ~std::uint64_t{0}).size() <= 3);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int with : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes bent = whole;
      bent[at] = static_cast<std::uint8_t>(with);
      LineTable table;
      table.add(elf_with(".debug_line", bent), "a");
      for (const LineTable::Row& row : table.within(0, ~std::uint64_t{0})) {
        CHECK((row.line == 0 || row.file < table.files().size()));
      }
    }
  }
}

TEST_CASE("a file without debug information has no lines, and what is no ELF file is refused") {
  LineTable table;
  table.add(elf_with(".text", {0x90}), "a");
  CHECK(table.empty());
  CHECK_THROWS_WITH_AS(table.add(Bytes(100), "b"), "b: is no ELF file", Error);
}
