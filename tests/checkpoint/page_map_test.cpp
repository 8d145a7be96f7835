#include "checkpoint/page_map.h"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace chronovisor {
namespace {

Hash128 number(std::uint64_t n) { return {n, ~n}; }

Bytes page_of(std::uint8_t value) { return Bytes(kPageSize, value); }

}  // namespace

TEST_CASE("maps that come from one another differ exactly where they were changed") {
  std::mt19937_64 random(1);
  PageMap map(2000, number(0));
  std::vector<PageMap> copies;
  std::vector<std::vector<Hash128>> plain;
  std::vector<Hash128> now(2000, number(0));
  for (int round = 0; round < 30; ++round) {
    for (int n = 0; n < 50; ++n) {
      const std::uint64_t page = random() % 2000;
      now[page] = number(random() % 5);
      map.set(page, now[page]);
    }
    copies.push_back(map);
    plain.push_back(now);
  }
  for (int n = 0; n < 100; ++n) {
    const std::size_t a = random() % copies.size();
    const std::size_t b = random() % copies.size();
    std::vector<std::uint64_t> found;
    copies[a].for_each_difference(copies[b], [&](std::uint64_t page) { found.push_back(page); });
    std::vector<std::uint64_t> expected;
    for (std::uint64_t page = 0; page < 2000; ++page) {
      if (plain[a][page] != plain[b][page]) expected.push_back(page);
    }
    REQUIRE(found == expected);
  }
}

TEST_CASE("a map of terabytes costs what differs from its first content, and is compared by it") {
  constexpr std::uint64_t kPages = 1ULL << 32;
  const auto account = std::make_shared<std::atomic<std::uint64_t>>(0);
  PageMap map(kPages, number(0), account);
  PageMap other(kPages, number(0));
  const std::uint64_t first = *account;
  const std::vector<std::uint64_t> pages{0, 65535, 65536, 1ULL << 30, kPages - 1};
  for (const std::uint64_t page : pages) map.set(page, number(page + 1));
  CHECK(*account - first < 5 * 16384);
  std::vector<std::uint64_t> found;
  map.for_each_difference(other, [&](std::uint64_t page) { found.push_back(page); });
  CHECK(found == pages);
  CHECK(map.content(1ULL << 30) == number((1ULL << 30) + 1));
  CHECK(map.content((1ULL << 30) + 1) == number(0));
  other.become(map);
  map.set(7, number(3));
  found.clear();
  other.for_each_difference(map, [&](std::uint64_t page) { found.push_back(page); });
  CHECK(found == std::vector<std::uint64_t>{7});
}

TEST_CASE("a page's bytes stay with its content, in copies too, and go with it") {
  PagePool pool;
  PageMap map(300, number(0));
  map.set(7, number(1), pool.keep(number(1), page_of(1)));
  const PageMap copy = map;
  map.set(7, number(1));  // the same content keeps its bytes
  REQUIRE(map.bytes(7) != nullptr);
  CHECK((*map.bytes(7))[0] == 1);
  map.set(7, number(2));
  CHECK(map.bytes(7) == nullptr);
  REQUIRE(copy.bytes(7) != nullptr);
  CHECK(copy.content(7) == number(1));
  CHECK(copy.bytes(8) == nullptr);
}

TEST_CASE("an account is charged for what copies do not share, and paid back") {
  const MemoryAccount account = std::make_shared<std::atomic<std::uint64_t>>(0);
  {
    PageMap map(100'000, number(0), account);
    const std::uint64_t empty = *account;
    CHECK(empty < 16384);
    const PageMap same = map;
    CHECK(*account == empty);
    map.set(5, number(9));
    const std::uint64_t one = *account;
    CHECK(one > empty);
    map.set(6, number(9));
    CHECK(*account == one);
    PageMap other(100'000, number(0), account);
    other.become(map);
    CHECK(*account < one + empty);
  }
  CHECK(*account == 0);
}

TEST_CASE("the pool keeps equal pages once and frees each with its last holder") {
  PagePool pool;
  auto first = pool.keep(number(1), page_of(1));
  const std::uint64_t one = pool.bytes();
  CHECK(one >= kPageSize);
  auto again = pool.keep(number(1), page_of(1));
  CHECK(first == again);
  CHECK(pool.bytes() == one);
  auto second = pool.keep(number(2), page_of(2));
  CHECK(pool.bytes() == 2 * one);
  first.reset();
  CHECK(pool.bytes() == 2 * one);
  again.reset();
  CHECK(pool.bytes() == one);
  first = pool.keep(number(1), page_of(1));
  CHECK((*first)[100] == 1);
}

TEST_CASE("pages may outlive their pool, and be kept and dropped by several threads") {
  std::shared_ptr<const PageContent> survivor;
  {
    PagePool pool;
    survivor = pool.keep(number(3), page_of(3));
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&pool, t] {
        std::mt19937_64 random(t);
        std::map<std::uint64_t, std::shared_ptr<const PageContent>> mine;
        for (int n = 0; n < 5000; ++n) {
          const std::uint64_t which = random() % 16;
          if (random() % 2 != 0) {
            mine[which] = pool.keep(number(which), page_of(static_cast<std::uint8_t>(which)));
          } else {
            mine.erase(which);
          }
        }
        for (const auto& [which, page] : mine) {
          if ((*page)[5] != which) std::abort();
        }
      });
    }
  }
  CHECK((*survivor)[0] == 3);
}

}  // namespace chronovisor
