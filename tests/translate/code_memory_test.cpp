#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <string>

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
