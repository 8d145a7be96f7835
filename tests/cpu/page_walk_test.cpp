// The one page walk: every paging mode, every way it can end, and whose entries
// it reads.
#include "vmm/cpu/mmu/page_walk.h"

#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "tests/cpu/system_machine.h"

namespace chronovisor {
namespace {

/// Tables by physical address of the entry.
struct Tables {
  std::map<std::uint64_t, std::uint64_t> entries;
  std::vector<PageTableEntry> visited{};

  Walk walk(const Paging& paging, std::uint64_t linear) {
    visited.clear();
    return walk_pages(
        paging, {linear},
        [this](GuestPhysical place, unsigned bytes, std::uint64_t& entry) {
          const auto found = entries.find(place.value);
          if (found == entries.end()) return false;
          entry = bytes == 4 ? static_cast<std::uint32_t>(found->second) : found->second;
          return true;
        },
        [this](const PageTableEntry& entry) { visited.push_back(entry); });
  }
};

Paging four_levels() {
  Paging paging;
  paging.kind = PagingKind::four_levels;
  paging.no_execute = true;
  paging.cr3 = 0x1000;
  return paging;
}

}  // namespace

TEST_CASE("four levels lead to pages of 4 KiB, 2 MiB and 1 GiB") {
  Tables tables{{{0x1000 + 8, 0x2027},
                 {0x2000, 0x3027},
                 {0x2008, 0x40000000 | 0xa5},
                 {0x3000, 0x4027},
                 {0x3008, 0x600000 | 0xa7},
                 {0x4008, 0x9067}}};
  const std::uint64_t base = 1ULL << 39;
  const Walk small = tables.walk(four_levels(), base + 0x1234);
  CHECK(small.end == WalkEnd::mapped);
  CHECK(small.physical.value == 0x9234);
  CHECK(small.page_bytes == 0x1000);
  REQUIRE(tables.visited.size() == 4);
  CHECK(tables.visited[0].level == 4);
  CHECK(tables.visited[3].place == 0x4008);
  CHECK(small.all_accessed);
  const Walk large = tables.walk(four_levels(), base + 0x200000 + 0x12345);
  CHECK(large.physical.value == 0x612345);
  CHECK(large.page_bytes == 0x200000);
  const Walk huge = tables.walk(four_levels(), base + 0x40000000 + 0x1234567);
  CHECK(huge.physical.value == 0x41234567);
  CHECK(huge.page_bytes == 0x40000000);
  CHECK(!huge.writable);
}

TEST_CASE("a walk says where it ends") {
  Tables tables{{{0x1000, 0x2027},
                 {0x1008, 0},
                 {0x1010, 0x2027 | 1ULL << 40},
                 {0x1018, 0x2027 | kPteLarge},
                 {0x2000, 0x100000000007}}};
  CHECK(tables.walk(four_levels(), 1ULL << 39).end == WalkEnd::not_present);
  CHECK(tables.walk(four_levels(), 2ULL << 39).end == WalkEnd::reserved);
  CHECK(tables.walk(four_levels(), 3ULL << 39).end == WalkEnd::reserved);
  CHECK(tables.walk(four_levels(), 4ULL << 39).end == WalkEnd::unreadable);
  CHECK(tables.walk(four_levels(), 1ULL << 47).end == WalkEnd::not_canonical);
  CHECK(tables.walk(four_levels(), 0).end == WalkEnd::reserved);
  Paging without_nx = four_levels();
  without_nx.no_execute = false;
  tables.entries[0x1000] = 0x2027 | kPteNoExecute;
  CHECK(tables.walk(without_nx, 0).level == 4);
}

TEST_CASE("two levels: large pages need CR4.PSE, and reach above 4 GiB") {
  Tables tables{{{0x1000, 0x00402087}, {0x1004, 0x2007}, {0x2000 + 4, 0x5007}}};
  Paging paging;
  paging.kind = PagingKind::two_levels;
  paging.cr3 = 0x1000;
  CHECK(tables.walk(paging, 0x1234).physical.value == 0x100401234);
  CHECK(tables.walk(paging, 0x401234).physical.value == 0x5234);
  paging.large_pages = false;
  CHECK(tables.walk(paging, 0x1234).end == WalkEnd::unreadable);
}

TEST_CASE("PAE takes its directory pointers from the registers, whatever memory says by now") {
  using M = test::SystemMachine;
  M m;
  m.protected_mode(0);
  constexpr std::uint64_t kPointers = 0x40020, kDirectory = 0x41000, kWrong = 0x42000;
  m.put<std::uint64_t>(kPointers, kDirectory | 1);
  m.put<std::uint64_t>(kDirectory, 0x87);         // 2 MiB at 0
  m.put<std::uint64_t>(kWrong, 0x200000 | 0x87);  // 2 MiB at 2 MiB
  m.cpu.state.cr4 = kCr4Pae;
  m.cpu.state.cr3 = kPointers;
  m.cpu.state.cr0 |= kCr0Pg;
  m.cpu.state.pdpte = m.cpu.checked_pdptes(kPointers);
  m.cpu.state_replaced();
  m.put<std::uint64_t>(kPointers, kWrong | 1);  // CR3 is not loaded again

  std::vector<PageTableEntry> visited;
  const Walk walk =
      m.cpu.mmu().look({0x1234}, [&](const PageTableEntry& entry) { visited.push_back(entry); });
  CHECK(walk.physical.value == 0x1234);
  REQUIRE(visited.size() == 2);
  CHECK(visited[0].in_register);
  CHECK(visited[0].value == (kDirectory | 1));
  CHECK(visited[0].place == kPointers);
  CHECK(!visited[1].in_register);
  // The processor agrees.
  m.put<std::uint32_t>(0x1234, 0xabcd);
  m.code(M::kCode, {0xa1, 0x34, 0x12, 0x00, 0x00});  // mov 0x1234,%eax
  m.step();
  CHECK(m.cpu.gpr(kRax) == 0xabcd);
}

}  // namespace chronovisor
