// What page tables map, from a given root on, however the guest has made them.
#include "inspect/guest_memory_map.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kRoot = 0x10000;
constexpr std::uint64_t kUserPage = kPtePresent | kPteWritable | kPteUser;

struct Tables {
  std::unique_ptr<Machine> machine;
  Paging paging{};
  TableBudget budget{};

  Tables() {
    MachineConfig config;
    config.memory_bytes = 2 << 20;
    machine = std::make_unique<Machine>(config);
    paging.kind = PagingKind::four_levels;
    paging.no_execute = true;
    paging.cr3 = kRoot;
  }
  void put(std::uint64_t table, std::uint64_t slot, std::uint64_t entry) const {
    ByteWriter out;
    out.integer(entry);
    machine->ram().write({table + slot * 8}, out.data());
  }
  void fill(std::uint64_t table, std::uint64_t entry) const {
    for (std::uint64_t slot = 0; slot < 512; ++slot) put(table, slot, entry);
  }
  std::vector<MappedPage> pages(std::size_t most = 100'000) {
    std::vector<MappedPage> all;
    for_each_mapped_page(*machine, paging, budget, [&](const MappedPage& page) {
      all.push_back(page);
      return all.size() < most;
    });
    return all;
  }
};

}  // namespace

TEST_CASE(
    "pages of every size are listed from the given tables on, with the rights of all levels") {
  Tables tables;
  tables.put(kRoot, 0, 0x11000 | kUserPage);
  tables.put(0x11000, 0, 0x12000 | kPtePresent | kPteUser);
  tables.put(0x11000, 1, 0x40000000 | kUserPage | kPteLarge);
  tables.put(0x12000, 0, 0x13000 | kUserPage);
  tables.put(0x12000, 3, 0x600000 | kUserPage | kPteLarge);
  tables.put(0x13000, 5, 0x9000 | kUserPage);
  tables.put(kRoot, 511, 0x14000 | kPtePresent | kPteWritable);
  tables.put(0x14000, 510, 0x80000000 | kPtePresent | kPteWritable | kPteLarge);
  const std::vector<MappedPage> pages = tables.pages();
  REQUIRE(pages.size() == 4);
  CHECK(pages[0].linear == 0x5000);
  CHECK(pages[0].physical == 0x9000);
  CHECK(pages[0].user);
  CHECK_FALSE(pages[0].writable);
  CHECK(pages[1].linear == 0x600000);
  CHECK(pages[1].size == 0x200000);
  CHECK(pages[2].linear == 0x40000000);
  CHECK(pages[2].physical == 0x40000000);
  CHECK(pages[2].writable);
  CHECK(pages[3].linear == 0xffffffff80000000);
  CHECK_FALSE(pages[3].user);
  CHECK(tables.budget.tables == TableBudget::kUsual - 5);
  CHECK(tables.pages(2).size() == 2);
}

TEST_CASE("entries that the processor does not take, and tables outside memory, map nothing") {
  Tables tables;
  tables.put(kRoot, 0, 0x11000 | kUserPage | kPteLarge);   // no page is that large
  tables.put(kRoot, 1, 0x11000 | kUserPage | 1ULL << 41);  // beyond what addresses have
  tables.put(kRoot, 2, 0x7ffff000 | kUserPage);            // no memory
  tables.put(kRoot, 3, 0x11000 | kUserPage);
  tables.put(0x11000, 0, 0x40001000 | kUserPage | kPteLarge | 0x4000);  // not at its size
  tables.put(0x11000, 1, 0x40000000 | kUserPage | kPteLarge | kPteNoExecute);
  CHECK(tables.pages().size() == 1);
  tables.paging.no_execute = false;  // then bit 63 is reserved
  CHECK(tables.pages().empty());
}

TEST_CASE("tables that lead to themselves are looked at as often as the budget says") {
  Tables tables;
  // Each of its entries is a table with the same entries, and at last a page.
  tables.fill(kRoot, kRoot | kUserPage);
  tables.budget.tables = 1000;
  std::size_t seen = 0;
  for_each_mapped_page(*tables.machine, tables.paging, tables.budget, [&](const MappedPage&) {
    ++seen;
    return true;
  });
  CHECK(tables.budget.tables == 0);
  CHECK(seen > 0);
  CHECK(seen <= 1000 * 512);
  // A tree as large in which there is no page at all.
  Tables empty;
  empty.fill(kRoot, 0x11000 | kUserPage);
  empty.fill(0x11000, 0x12000 | kUserPage);
  empty.fill(0x12000, 0x13000 | kUserPage);
  CHECK(empty.pages().empty());
  CHECK(empty.budget.tables == 0);
}

}  // namespace chronovisor
