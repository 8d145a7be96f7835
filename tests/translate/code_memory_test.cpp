#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/translate/twin_guest.h"
#include "vmm/cpu/translate/translator.h"

using namespace chronovisor;
using namespace chronovisor::test;

namespace {

translate::Settings always(std::size_t cache_bytes) {
  translate::Settings settings;
  settings.mode = translate::Mode::always;
  settings.cache_bytes = cache_bytes;
  return settings;
}

// inc %eax; jmp back
constexpr std::array<std::uint8_t, 4> kLoop{0xff, 0xc0, 0xeb, 0xfc};

}  // namespace

TEST_CASE("no page of the process is writable and executable while emitted code runs") {
  TwinGuest twin(always(std::size_t{1} << 20));
  oracle::Random random(1, 1);
  twin.place(0, kLoop);
  twin.start(CodeKind::long64, TwinGuest::kCode, random);
  REQUIRE(!twin.run(1000));
  bool writable = false;
  bool executable = false;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find(' ');
    REQUIRE(at != std::string::npos);
    const std::string rights = line.substr(at + 1, 3);
    INFO(line);
    CHECK_FALSE((rights[1] == 'w' && rights[2] == 'x'));
    if (line.find("chronovisor-code") == std::string::npos) continue;
    writable = writable || rights == "rw-";
    executable = executable || rights == "r-x";
  }
  CHECK(writable);
  CHECK(executable);
}

TEST_CASE("a guest that makes new code for ever is translated within the cache's bound") {
  TwinGuest twin(always(std::size_t{256} << 10));
  oracle::Random random(1, 2);
  twin.place(0, kLoop);
  for (unsigned n = 0; n < 6000; ++n) {
    // A new block each time: the loop at another place.
    const std::uint64_t at = (n * 7) % 0xf00;
    twin.place(at, kLoop);
    twin.start(CodeKind::long64, TwinGuest::kCode + at, random);
    REQUIRE(!twin.run(9));
  }
  const translate::Translator* translator = twin.side(1).cpu.translator();
  REQUIRE(translator != nullptr);
  CHECK(translator->statistics().flushes > 0);
  CHECK(translator->statistics().code_bytes > (256U << 10));
}

TEST_CASE(
    "code that runs at two addresses by turns is told of at both, and jumps to other pages are "
    "kept") {
  TwinGuest twin(always(std::size_t{1} << 20));
  oracle::Random random(1, 4);
  constexpr std::uint64_t kFirst = TwinGuest::kCode + 0x40;
  constexpr std::uint32_t kApart = TwinGuest::kCode ^ TwinGuest::kAlias;
  const auto byte_of = [](std::uint64_t value, unsigned n) {
    return static_cast<std::uint8_t>(value >> (8 * n));
  };
  std::vector<std::uint8_t> begin;
  for (const auto& [opcode, value] :
       {std::pair{0xbf, kFirst}, std::pair{0xba, TwinGuest::kCode + 0x1000}}) {
    begin.insert(begin.end(), {0x48, static_cast<std::uint8_t>(opcode)});  // mov rdi, rdx
    for (unsigned n = 0; n < 8; ++n) begin.push_back(byte_of(value, n));
  }
  begin.push_back(0xbe);  // mov esi
  for (unsigned n = 0; n < 4; ++n) begin.push_back(byte_of(kApart, n));
  begin.insert(begin.end(), {0x31, 0xc9, 0xff, 0xe7});  // xor ecx, ecx; jmp rdi
  twin.place(0, begin);
  // call rdx; xor rdi, rsi; inc ecx; test cl, 8; jnz to the next; jmp rdi
  constexpr std::array<std::uint8_t, 14> kTurn{0xff, 0xd2, 0x48, 0x31, 0xf7, 0xff, 0xc1,
                                               0xf6, 0xc1, 0x08, 0x75, 0x34, 0xff, 0xe7};
  constexpr std::array<std::uint8_t, 4> kSeldom{0xff, 0xc0, 0xff, 0xe7};  // inc eax; jmp rdi
  constexpr std::array<std::uint8_t, 1> kReturn{0xc3};
  twin.place(0x40, kTurn);
  twin.place(0x80, kSeldom);
  twin.place(0x1000, kReturn);
  twin.observe(true);
  twin.start(CodeKind::long64, TwinGuest::kCode, random);
  for (unsigned n = 0; n < 40; ++n) {
    REQUIRE(!twin.run(37));
  }
  CHECK(!twin.compare_all());
  const translate::Statistics& statistics = twin.side(1).cpu.translator()->statistics();
  CHECK(statistics.aliases > 100);
  // A turn comes back to the page twice and goes on to the other once.
  CHECK(statistics.jumps_filled < 5 * statistics.aliases / 2);
}

TEST_CASE("a loop within a page is entered once and counts its budget exactly") {
  TwinGuest twin(always(std::size_t{1} << 20));
  oracle::Random random(1, 3);
  twin.place(0, kLoop);
  twin.start(CodeKind::long64, TwinGuest::kCode, random);
  REQUIRE(!twin.run(10));
  const translate::Translator* translator = twin.side(1).cpu.translator();
  const std::uint64_t entries = translator->statistics().entries;
  REQUIRE(!twin.run(100001));
  CHECK(translator->statistics().entries - entries <= 2);
  CHECK(twin.side(1).cpu.position() == twin.side(0).cpu.position());
}
