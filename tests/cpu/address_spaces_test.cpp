// The TLB keeps what it knows of several address spaces. Nobody may notice: whatever
// the tables say at any moment is what an access meets.
#include <doctest/doctest.h>

#include "tests/cpu/system_machine.h"
#include "tests/oracle/random.h"
#include "vmm/cpu/translate/settings.h"

namespace chronovisor::test {
namespace {

constexpr std::uint64_t kRoots = 0x100000;  // of 12 address spaces, four pages each
constexpr unsigned kSpaces = 12;
constexpr std::uint64_t kSystemTables = 0x140000;
constexpr std::uint64_t kSystemHalf = 0xffff800000000000;  // all of RAM, by a large page
constexpr std::uint64_t kExtra = 0xffff808000000000;       // there in some spaces alone
constexpr std::uint64_t kData = 0x180000;  // pages of code that says which one it is
constexpr unsigned kDataPages = 64;
constexpr std::uint64_t kUser = 0x400000;
constexpr unsigned kUserPages = 6;
constexpr std::uint64_t kAll = 7;  // present, writable, user

struct Spaces : SystemMachine {
  explicit Spaces(translate::Mode mode) {
    translate::Settings settings;
    settings.mode = mode;
    cpu.set_translation(settings);
    long_mode(0);
    put<std::uint64_t>(kSystemTables, (kSystemTables + 0x1000) | kAll | kPteAccessed);
    put<std::uint64_t>(kSystemTables + 0x1000, 0x80 | kAll);
    for (unsigned page = 0; page < kDataPages; ++page) {
      const std::uint64_t at = kData + page * kPageSize;
      put<std::uint8_t>(at, 0xb8);  // MOV EAX, the number
      put<std::uint32_t>(at + 1, page);
      put<std::uint16_t>(at + 5, 0xfeeb);  // JMP to itself
    }
    for (unsigned space = 0; space < kSpaces; ++space) {
      const std::uint64_t root = root_of(space);
      put<std::uint64_t>(root, (root + 0x1000) | kAll);
      put<std::uint64_t>(root + 0x1000, (root + 0x2000) | kAll);
      put<std::uint64_t>(root + 0x2000 + 8 * (kUser >> 21), (root + 0x3000) | kAll);
      put<std::uint64_t>(root + 0x800, kSystemTables | kAll | kPteAccessed);
    }
    put<std::uint64_t>(root_of(3) + 0x808, kSystemTables | kAll);
    cpu.state.cr3 = root_of(0);
    cpu.state_replaced();
  }
  static std::uint64_t root_of(unsigned space) { return kRoots + space * 0x4000; }
  /// The guest's own store, through the half that all share.
  void store(std::uint64_t physical, std::uint64_t value) {
    const unsigned cpl = cpu.cpl();
    cpu.set_cpl(0);
    cpu.store_linear<std::uint64_t>(kSystemHalf + physical, value);
    cpu.set_cpl(cpl);
  }
  void check_page(std::uint64_t linear, bool write) {
    const Walk walk = cpu.mmu().look({linear});
    CAPTURE(linear);
    if (walk.end != WalkEnd::mapped) {
      CHECK_THROWS_AS((void)cpu.load_linear<std::uint32_t>(linear + 1), GuestFault);
      return;
    }
    const auto page = static_cast<std::uint32_t>((walk.physical.value - kData) / kPageSize);
    CHECK(cpu.load_linear<std::uint32_t>(linear + 1) == page);
    if (write) {
      const std::uint64_t value = get<std::uint64_t>(walk.physical.value + 16) + 1;
      cpu.store_linear<std::uint64_t>(linear + 16, value);
      CHECK(get<std::uint64_t>(walk.physical.value + 16) == value);
    }
    cpu.gpr(kRax) = ~std::uint64_t{0};
    cpu.rip() = linear;
    cpu.rip_replaced();
    cpu.run({cpu.position().steps + 3});
    CHECK(cpu.gpr(kRax) == page);
  }
};

void at_random(translate::Mode mode, std::uint64_t seed) {
  Spaces m(mode);
  oracle::Random random(seed, 1);
  const auto any_page = [&] { return kUser + random.below(kUserPages) * kPageSize; };
  for (unsigned k = 0; k < 6000; ++k) {
    const auto space = static_cast<unsigned>(random.below(kSpaces));
    const std::uint64_t root = Spaces::root_of(space);
    const std::uint64_t target = kData + random.below(kDataPages) * kPageSize;
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
        m.cpu.set_cr3(Spaces::root_of(random.chance(70) ? space % 3 : space));
        break;
      case 3:
      case 4:
        m.store(root + 0x3000 + 8 * random.below(kUserPages),
                random.chance(80) ? target | kAll : 0);
        break;
      case 5:  // one of the tables above
        if (random.chance(30)) {
          const std::uint64_t other = Spaces::root_of(static_cast<unsigned>(random.below(kSpaces)));
          m.store(root + 0x2000 + 8 * (kUser >> 21), (other + 0x3000) | kAll);
        }
        break;
      case 6:  // a top table, in either half; it may lose its upper half's A bit
        if (random.chance(20)) m.store(root, random.chance(50) ? 0 : (root + 0x1000) | kAll);
        if (random.chance(20)) {
          m.store(root + 0x808, random.chance(50) ? 0 : kSystemTables | kAll);
        }
        break;
      case 7:
        m.cpu.set_cpl(random.chance(50) ? 3 : 0);
        break;
      case 8: {  // what only some spaces have
        const std::uint64_t linear = kExtra + kData;
        const bool there = m.cpu.mmu().look({linear}).end == WalkEnd::mapped;
        if (there) {
          CHECK(m.cpu.load_linear<std::uint32_t>(linear + 1) == 0);
        } else {
          CHECK_THROWS_AS((void)m.cpu.load_linear<std::uint32_t>(linear + 1), GuestFault);
        }
        break;
      }
      default:
        m.check_page(any_page(), random.chance(40));
        break;
    }
  }
}

}  // namespace

TEST_CASE("whatever is kept of other address spaces, an access meets what the tables say") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    at_random(translate::Mode::off, seed);
    at_random(translate::Mode::always, seed);
  }
}

TEST_CASE("an address space that is entered again needs no walks, and its changes are seen") {
  Spaces m(translate::Mode::off);
  for (unsigned space = 0; space < 2; ++space) {
    m.store(Spaces::root_of(space) + 0x3000, (kData + space * kPageSize) | kAll);
    m.cpu.set_cr3(Spaces::root_of(space));
    CHECK(m.cpu.load_linear<std::uint32_t>(kUser + 1) == space);
  }
  const std::uint64_t before = m.cpu.counters().page_walks;
  for (unsigned k = 0; k < 10; ++k) {
    m.cpu.set_cr3(Spaces::root_of(k & 1));
    CHECK(m.cpu.load_linear<std::uint32_t>(kSystemHalf + kData + 1) == 0);
  }
  CHECK(m.cpu.counters().page_walks == before + 1);
  m.store(Spaces::root_of(0) + 0x3000, (kData + 5 * kPageSize) | kAll);
  m.cpu.set_cr3(Spaces::root_of(0));
  CHECK(m.cpu.load_linear<std::uint32_t>(kUser + 1) == 5);
}

}  // namespace chronovisor::test
