#include <doctest/doctest.h>

#include <array>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/ordered_loader.h"
#include "base/section.h"
#include "base/state.h"
#include "base/text.h"

using namespace chronovisor;

namespace {

enum class Colour : std::uint8_t { red = 1, blue = 7 };

struct Part {
  std::uint32_t number = 0;
  bool flag = false;
  Colour colour = Colour::red;
  std::array<std::uint16_t, 3> list{};
  std::vector<std::uint8_t> bytes;
  void visit(StateVisitor& visitor) {
    visitor.field("number", number);
    visitor.field("flag", flag);
    visitor.field("colour", colour);
    visitor.field("list", list);
    visitor.field("bytes", bytes, 16);
  }
};

Bytes save(Part& part) {
  StateSaver saver;
  part.visit(saver);
  return saver.take();
}

Part sample() { return {0x12345678, true, Colour::blue, {1, 2, 3}, {9, 8, 7}}; }

}  // namespace

TEST_CASE("integers and varints come back as they were written") {
  ByteWriter writer;
  writer.integer(std::uint16_t{0xbeef});
  writer.integer(std::int64_t{-2});
  for (const std::uint64_t value : {0ULL, 127ULL, 128ULL, 1ULL << 63, ~0ULL}) writer.varint(value);
  writer.sized_text("time");
  ByteReader reader(writer.data(), "test");
  CHECK(reader.integer<std::uint16_t>() == 0xbeef);
  CHECK(reader.integer<std::int64_t>() == -2);
  for (const std::uint64_t value : {0ULL, 127ULL, 128ULL, 1ULL << 63, ~0ULL}) {
    CHECK(reader.varint() == value);
  }
  CHECK(reader.sized_text(10) == "time");
  CHECK(reader.at_end());
}

TEST_CASE("a reader never goes past the end, and says where it stopped") {
  const Bytes data{0x05, 'a', 'b'};
  ByteReader reader(data, "a short thing");
  CHECK_THROWS_WITH_AS(reader.sized_text(100),
                       "a short thing: at byte 1: needs 5 bytes, 2 are left", Error);
  ByteReader bounded(data, "a short thing");
  CHECK_THROWS_AS(bounded.sized_bytes(4), Error);
  const Bytes endless(11, 0xff);
  CHECK_THROWS_AS(ByteReader(endless, "x").varint(), Error);
  const Bytes too_large{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
  CHECK_THROWS_AS(ByteReader(too_large, "x").varint(), Error);
}

TEST_CASE("hashing in pieces equals hashing at once") {
  const Bytes data(100'000, 0x5a);
  Hasher hasher;
  hasher.add(ByteView(data).first(1));
  hasher.add(ByteView(data).subspan(1, 70'000));
  hasher.add(ByteView(data).subspan(70'001));
  CHECK(hasher.finish() == hash128(data));
  CHECK(hash128(data).hex().size() == 32);
  CHECK(hash128(data) != hash128(ByteView(data).first(99'999)));
}

TEST_CASE("a section restores every field") {
  Part original = sample();
  const Bytes section = save(original);
  Part restored;
  StateLoader loader(section, "part");
  restored.visit(loader);
  loader.finish();
  CHECK(save(restored) == section);
  CHECK(restored.colour == Colour::blue);
  CHECK(restored.bytes == original.bytes);
}

TEST_CASE("a section in the order of its fields is loaded without a look-up") {
  Part whole = sample();
  const Bytes section = save(whole);
  Part restored;
  OrderedLoader loader(section);
  restored.visit(loader);
  CHECK(loader.fitted());
  CHECK(save(restored) == section);
  const auto fits = [](ByteView bytes) {
    Part part;
    OrderedLoader one(bytes);
    part.visit(one);
    return one.fitted();
  };
  // Cut, with more behind it, or with any byte of a name or a length changed: not this way.
  for (std::size_t length = 0; length < section.size(); ++length) {
    CHECK_FALSE(fits(ByteView(section).first(length)));
  }
  Bytes longer = section;
  longer.push_back(0);
  CHECK_FALSE(fits(longer));
  std::size_t values = 0;
  for (std::size_t at = 0; at < section.size(); ++at) {
    Bytes changed = section;
    changed[at] ^= 0x80;
    if (fits(changed)) ++values;
  }
  CHECK(values == 4 + 1 + 1 + 6 + whole.bytes.size());
}

TEST_CASE("a section that does not fit is refused by field") {
  Part part = sample();
  StateSaver saver;
  std::uint64_t number = 1;
  saver.field("number", number);  // of another width
  const Bytes wrong_width = saver.take();
  StateLoader loader(wrong_width, "part");
  CHECK_THROWS_WITH_AS(loader.field("number", part.number),
                       "state section part: field number has 8 bytes, expected 4", Error);
  CHECK_THROWS_WITH_AS(loader.field("other", part.number),
                       "state section part: field other is missing", Error);
  const Bytes section = save(part);
  StateLoader incomplete(section, "part");
  incomplete.field("number", part.number);
  CHECK_THROWS_AS(incomplete.finish(), Error);
  for (std::size_t length = 0; length < section.size(); ++length) {
    Part target;
    CHECK_THROWS_AS(
        [&] {
          StateLoader cut(ByteView(section).first(length), "part");
          target.visit(cut);
          cut.finish();
        }(),
        Error);
  }
}

TEST_CASE("a bool that is neither 0 nor 1 becomes a real bool") {
  Part part = sample();
  Bytes section = save(part);
  const std::string_view name = "flag";
  for (std::size_t at = 0; at + name.size() + 1 < section.size(); ++at) {
    if (std::string_view(reinterpret_cast<const char*>(&section[at]), name.size()) == name) {
      section[at + name.size() + 1] = 0x42;
      break;
    }
  }
  StateLoader loader(section, "part");
  part.visit(loader);
  CHECK(part.flag == true);
  CHECK(save(part) == save(part));
}

TEST_CASE("a section's version is in its name") {
  CHECK(section_name("pit", 1) == "pit");
  CHECK(section_name("pit", 12) == "pit@12");
  CHECK(parse_section_name("pit") == SectionName{"pit", 1});
  CHECK(parse_section_name("pit@12") == SectionName{"pit", 12});
  for (const char* name : {"pit@", "pit@0", "pit@1", "pit@02", "pit@2x", "pit@99999999999"}) {
    CHECK_THROWS_AS((void)parse_section_name(name), Error);
  }
}

TEST_CASE("a loaded number above what it may be is refused, and nothing is changed by it") {
  std::uint8_t index = 200;
  StateSaver saver;
  saver.field("index", index);
  const Bytes section = saver.take();
  index = 3;
  StateLoader loader(section, "part");
  CHECK_THROWS_WITH_AS(bounded_field(loader, "index", index, 15),
                       "field index has a value that no machine has", Error);
  CHECK(index == 3);
  StateLoader wide(section, "part");
  bounded_field(wide, "index", index, 200);
  CHECK(index == 200);
}

TEST_CASE("two sections are compared field by field") {
  Part left = sample();
  Part right = sample();
  right.number = 5;
  right.list[2] = 4;
  const std::vector<FieldDifference> differences =
      compare_sections(save(left), save(right), "part");
  REQUIRE(differences.size() == 2);
  CHECK(differences[0].field == "number");
  CHECK(differences[0].right == Bytes{5, 0, 0, 0});
  CHECK(differences[1].field == "list");
  CHECK(compare_sections(save(left), save(left), "part").empty());
}

TEST_CASE("a terminal is given no control characters but those that are meant") {
  const std::string text("a\x1b[1m\n\t\0\x7f\xc3\xa4", 11);
  CHECK(terminal_text(text) == "a?[1m????\xc3\xa4");
  CHECK(terminal_text(text, "\n\t") == "a?[1m\n\t??\xc3\xa4");
}

TEST_CASE("UTF-8 is what the standard calls well-formed") {
  for (const char* text :
       {"", "plain", "\xc3\xa4\xe2\x82\xac", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xe0\xa0\x80"}) {
    CHECK(is_utf8(text));
  }
  for (const char* bytes :
       {"\xfe", "\x80", "a\xc3", "\xc0\xaf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xc3("}) {
    CHECK_FALSE(is_utf8(bytes));
  }
}
