#include "inspect/linux/symbol_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "inspect/linux/kallsyms.h"
#include "inspect/linux/orc.h"

using chronovisor::Bytes;
using chronovisor::ByteView;
using chronovisor::ByteWriter;
using chronovisor::Error;
using namespace chronovisor::linux_guest;

namespace {

constexpr std::uint64_t kBase = 0xffffffff81000000ULL;

/// A kallsyms image of 1,200 symbols "Tf_N" at kBase + 16 N, in the layout up
/// to 6.3 (`old_layout`) or from 6.4 on.
Bytes image(bool old_layout) {
  constexpr std::size_t kCount = 1200;
  ByteWriter out;
  const auto align = [&] {
    while (out.size() % 8 != 0) out.integer(std::uint8_t{0});
  };
  const auto addresses = [&] {
    for (std::size_t n = 0; n < kCount; ++n) {
      out.integer(static_cast<std::int32_t>(-1 - static_cast<std::int32_t>(16 * n)));
    }
    align();
    out.integer(kBase);
  };
  for (int n = 0; n < 64; ++n) out.integer(std::uint8_t{0});
  if (old_layout) addresses();
  out.integer(std::uint64_t{kCount});
  std::vector<std::uint32_t> markers;
  const std::size_t names = out.size();
  for (std::size_t n = 0; n < kCount; ++n) {
    if (n % 256 == 0) markers.push_back(static_cast<std::uint32_t>(out.size() - names));
    const std::string text = "Tf_" + std::to_string(n);
    out.integer(static_cast<std::uint8_t>(text.size()));
    out.bytes(chronovisor::as_bytes(text));  // each character is its own token
  }
  align();
  for (const std::uint32_t marker : markers) out.integer(marker);
  align();
  const std::size_t tokens = out.size();
  std::vector<std::uint16_t> index;
  for (unsigned n = 0; n < 256; ++n) {
    index.push_back(static_cast<std::uint16_t>(out.size() - tokens));
    out.integer(static_cast<std::uint8_t>(n == 0 ? 1 : n));
    out.integer(std::uint8_t{0});
  }
  align();
  for (const std::uint16_t offset : index) out.integer(offset);
  if (!old_layout) addresses();
  for (int n = 0; n < 64; ++n) out.integer(std::uint8_t{0});
  return out.take();
}

}  // namespace

TEST_CASE("a kernel's symbols are read in both layouts of the table") {
  for (const bool old_layout : {true, false}) {
    const auto symbols = read_kallsyms(image(old_layout));
    REQUIRE(symbols.size() == 1200);
    CHECK(symbols[0].name == "f_0");
    CHECK(symbols[0].type == 'T');
    CHECK(symbols[1199].name == "f_1199");
    CHECK(symbols[1199].address == kBase + 16 * 1199);
  }
}

TEST_CASE("bytes without a symbol table, and cut ones, are refused") {
  CHECK_THROWS_AS(static_cast<void>(read_kallsyms(Bytes(100000, 0))), Error);
  CHECK_THROWS_AS(static_cast<void>(read_kallsyms({})), Error);
  const Bytes whole = image(true);
  for (std::size_t size = 0; size < whole.size() - 64; size += 97) {
    CHECK_THROWS_AS(static_cast<void>(read_kallsyms(ByteView(whole).first(size))), Error);
  }
}

TEST_CASE("damaged symbol tables never crash") {
  const Bytes whole = image(false);
  for (std::size_t at = 0; at < whole.size(); at += 41) {
    Bytes damaged = whole;
    damaged[at] ^= 0xff;
    try {
      static_cast<void>(read_kallsyms(damaged));
    } catch (const Error&) {
      continue;
    }
  }
}

TEST_CASE("the symbol file is an ELF whose header leads to its sections") {
  const std::vector<KernelSymbol> symbols{
      {kBase, 'T', "_text"}, {kBase + 16, 't', "local"}, {kBase + 64, 'D', "data"}};
  const Bytes elf = make_symbol_file(symbols, {{".text", kBase, kBase + 64, true}}, {});
  REQUIRE(elf.size() > 64);
  CHECK(std::memcmp(elf.data(),
                    "\x7f"
                    "ELF\x02\x01",
                    6) == 0);
  std::uint64_t headers = 0;
  std::uint16_t count = 0;
  std::memcpy(&headers, &elf[40], 8);
  std::memcpy(&count, &elf[60], 2);
  CHECK(count == 5);  // null, .text, .symtab, .strtab, .shstrtab
  CHECK(headers + 64ULL * count == elf.size());
  const std::string all(elf.begin(), elf.end());
  CHECK(all.find("local") != std::string::npos);
  CHECK(all.find(".symtab") != std::string::npos);
}

TEST_CASE("symbols below the kernel's space are kept where there is code, and only there") {
  const std::vector<KernelSymbol> symbols{
      {0x1000, 'D', "per_cpu_offset"}, {0x1000000, 'T', "early_code"}, {kBase, 'T', "_text"}};
  const Bytes elf = make_symbol_file(
      symbols, {{".text", kBase, kBase + 64, true}, {".early", 0x1000000, 0x1001000, true}}, {});
  const std::string all(elf.begin(), elf.end());
  CHECK(all.find("early_code") != std::string::npos);
  CHECK(all.find("per_cpu_offset") == std::string::npos);
}

TEST_CASE("unwind entries become frame descriptions that cover each address once") {
  std::vector<OrcEntry> entries(4);
  entries[0] = {kBase, OrcEntry::Kind::call, 5, 0, 8, 0};
  entries[1] = {kBase + 1, OrcEntry::Kind::call, 5, 1, 16, -16};
  entries[2] = {kBase + 0x100, OrcEntry::Kind::registers, 5, 0, 0, 0};
  entries[3] = {kBase + 0x200, OrcEntry::Kind::end, 0, 0, 0, 0};
  const Bytes frames = make_debug_frame({entries});
  std::uint64_t covered = kBase;
  unsigned descriptions = 0;
  for (std::size_t at = 0; at < frames.size();) {
    std::uint32_t length = 0;
    std::uint32_t id = 0;
    std::memcpy(&length, &frames[at], 4);
    std::memcpy(&id, &frames[at + 4], 4);
    REQUIRE(at + 4 + length <= frames.size());
    if (id != 0xffffffff) {
      std::uint64_t start = 0;
      std::uint64_t size = 0;
      std::memcpy(&start, &frames[at + 8], 8);
      std::memcpy(&size, &frames[at + 16], 8);
      CHECK(start == covered);
      covered = start + size;
      ++descriptions;
    }
    at += 4 + length;
  }
  CHECK(covered == kBase + 0x200);
  CHECK(descriptions == 2);       // the calls together, the interrupted place by itself
  const Bytes rules{0x0c, 7, 8};  // DW_CFA_def_cfa: rsp + 8
  CHECK(std::search(frames.begin(), frames.end(), rules.begin(), rules.end()) != frames.end());
}

TEST_CASE("a place without a caller has a frame address all the same, or gdb gives up") {
  const std::vector<OrcEntry> entries{{kBase, OrcEntry::Kind::end, 0, 0, 0, 0},
                                      {kBase + 0x10, OrcEntry::Kind::end, 0, 0, 0, 0}};
  const Bytes frames = make_debug_frame({entries});
  const Bytes rules{0x0c, 7, 8, 0x07, 16};  // DW_CFA_def_cfa: rsp + 8; DW_CFA_undefined: rip
  CHECK(std::search(frames.begin(), frames.end(), rules.begin(), rules.end()) != frames.end());
}
