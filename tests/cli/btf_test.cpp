#include "inspect/linux/btf.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/error.h"

using chronovisor::Bytes;
using chronovisor::ByteView;
using chronovisor::ByteWriter;
using chronovisor::Error;
using chronovisor::linux_guest::Btf;
using chronovisor::linux_guest::find_btf;

namespace {

/// Builds BTF type by type; numbers count from 1.
class Builder {
 public:
  std::uint32_t name(const std::string& text) {
    const auto at = static_cast<std::uint32_t>(strings_.size());
    strings_ += text;
    strings_.push_back('\0');
    return at;
  }
  void type(const std::string& text, std::uint32_t kind, std::uint32_t count, std::uint32_t size,
            bool bitfields = false) {
    types_.integer(text.empty() ? 0U : name(text));
    types_.integer(kind << 24 | count | (bitfields ? 1U << 31 : 0U));
    types_.integer(size);
  }
  void integer(const std::string& text, std::uint32_t bytes) {
    type(text, 1, 0, bytes);
    types_.integer(std::uint32_t{8 * bytes});
  }
  void member(const std::string& text, std::uint32_t of, std::uint32_t offset) {
    types_.integer(text.empty() ? 0U : name(text));
    types_.integer(of);
    types_.integer(offset);
  }
  void array(std::uint32_t of, std::uint32_t count) {
    type("", 3, 0, 0);
    types_.integer(of);
    types_.integer(of);
    types_.integer(count);
  }
  [[nodiscard]] Bytes build() const {
    ByteWriter out;
    out.integer(std::uint16_t{0xeb9f});
    out.integer(std::uint16_t{1});
    out.integer(std::uint32_t{24});
    out.integer(std::uint32_t{0});
    out.integer(static_cast<std::uint32_t>(types_.size()));
    out.integer(static_cast<std::uint32_t>(types_.size()));
    out.integer(static_cast<std::uint32_t>(strings_.size()));
    out.bytes(types_.data());
    out.bytes(chronovisor::as_bytes(strings_));
    return out.take();
  }

 private:
  ByteWriter types_;
  std::string strings_ = std::string(1, '\0');
};

Bytes sample() {
  Builder b;
  b.integer("int", 4);  // 1
  b.type("", 4, 2, 8);  // 2: anonymous struct
  b.member("low", 1, 0);
  b.member("high", 1, 32);
  b.type("task_struct", 4, 4, 32);  // 3
  b.member("pid", 1, 0);
  b.member("", 2, 64);
  b.member("inner", 5, 128);
  b.member("comm", 6, 192);
  b.type("inner_type", 4, 2, 4, true);  // 4: bit-fields
  b.member("kind", 1, 3U << 24 | 5);
  b.member("whole", 1, 0);
  b.type("alias", 8, 0, 4);  // 5: typedef of 4
  b.array(1, 4);             // 6
  return b.build();
}

}  // namespace

TEST_CASE("members are found through anonymous structures, typedefs and paths") {
  const Btf btf(sample());
  CHECK(btf.size_of("task_struct") == 32);
  CHECK(btf.need("task_struct", "pid").offset() == 0);
  CHECK(btf.need("task_struct", "high").offset() == 12);
  CHECK(btf.need("task_struct", "inner.kind").bit_offset == 133);
  CHECK(btf.need("task_struct", "inner.kind").bit_size == 3);
  CHECK(btf.need("task_struct", "comm").size() == 16);
  CHECK_FALSE(btf.field("task_struct", "inner.missing"));
  CHECK_FALSE(btf.field("no_struct", "pid"));
  CHECK_THROWS_AS(static_cast<void>(btf.need("task_struct", "missing")), Error);
}

TEST_CASE("type information is found inside an image, and what only looks like it is not") {
  Bytes image(1000, 0);
  const Bytes decoy{0x9f, 0xeb, 1, 0, 24, 0, 0, 0};
  std::copy(decoy.begin(), decoy.end(), image.begin() + 40);
  const Bytes real = sample();
  image.insert(image.end(), real.begin(), real.end());
  CHECK(find_btf(image).size_of("task_struct") == 32);
  image.resize(1000);
  CHECK_THROWS_AS(static_cast<void>(find_btf(image)), Error);
}

TEST_CASE("damaged type information is refused or answers nothing, and never crashes") {
  const Bytes whole = sample();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_THROWS_AS(Btf{ByteView(whole).first(size)}, Error);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const std::uint8_t flip : {0x01, 0x80, 0xff}) {
      Bytes damaged = whole;
      damaged[at] ^= flip;
      try {
        const Btf btf(damaged);
        static_cast<void>(btf.field("task_struct", "inner.kind"));
        static_cast<void>(btf.size_of("task_struct"));
      } catch (const Error&) {
        continue;  // refused by name
      }
    }
  }
}

TEST_CASE("types that refer to themselves end") {
  Builder b;
  b.type("task_struct", 4, 1, 8);  // 1
  b.member("", 1, 0);
  b.type("loop", 8, 0, 2);  // 2: a typedef of itself
  b.array(3, 1000000);      // 3: an array of itself
  const Btf btf(b.build());
  CHECK_FALSE(btf.field("task_struct", "pid"));
}
