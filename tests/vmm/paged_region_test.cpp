// Regions: memory beside RAM, and the one numbering of pages.
#include "vmm/memory/paged_region.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/error.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20;

MachineConfig small() {
  MachineConfig config;
  config.memory_bytes = kMiB;
  return config;
}

}  // namespace

TEST_CASE("a region keeps what was written, begins as zeros, and bounds every access") {
  PagedRegion region("screen", 3 * kPageSize - 10);
  CHECK(region.page_count() == 3);
  const Bytes data(kPageSize + 1, 0x5a);
  region.write(100, data);
  CHECK(region.dirty_pages() == std::vector<std::uint32_t>{0, 1});
  region.new_epoch();
  CHECK(region.dirty_pages().empty());
  Bytes seen(data.size() + 2);
  region.read(99, seen);
  CHECK(seen.front() == 0);
  CHECK(std::equal(data.begin(), data.end(), seen.begin() + 1));
  CHECK(seen.back() == 0);

  region.write(region.size() - 2, Bytes(8, 7));
  region.write(region.size(), Bytes(8, 7));
  region.write(kNever, Bytes(8, 7));
  CHECK(region.dirty_pages() == std::vector<std::uint32_t>{2});
  Bytes end(8);
  region.read(region.size() - 2, end);
  CHECK(end == Bytes{7, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
  region.read(kNever - 2, end);
  CHECK(end == Bytes(8, 0xff));
  region.clear_page(0);
  CHECK(*region.host(200) == 0);
  CHECK(*region.host(kPageSize) == 0x5a);
  CHECK_THROWS_AS(PagedRegion("none", 0), Error);
}

TEST_CASE("pages of regions are numbered behind RAM's, and changed with them") {
  Machine machine(small());
  PagedRegion& screen = machine.memory().add_region("screen", 16 * kMiB);
  PagedRegion& disk = machine.memory().add_region("disk", 100ULL << 30);
  const std::vector<RegionPlace> layout = machine.pages().layout();
  REQUIRE(layout.size() == 2);
  CHECK(layout[0] == RegionPlace{"screen", 65536, 4096});
  CHECK(layout[1] == RegionPlace{"disk", 131072, 26214400});
  CHECK(machine.memory().region("disk") == &disk);
  CHECK(machine.memory().region("else") == nullptr);
  CHECK(regions_of(machine.save_sections()) == layout);
  CHECK(machine.pages().has_page(65536 + 4095));
  CHECK_FALSE(machine.pages().has_page(65536 + 4096));
  CHECK_FALSE(machine.pages().has_page(256));

  (void)machine.close_epoch();
  machine.ram().write({0x3000}, Bytes{1});
  screen.write(5 * kPageSize, Bytes{1});
  disk.write((99ULL << 30) + 1, Bytes{2});
  const std::uint32_t far = 131072 + (99U << 18);
  CHECK(machine.close_epoch() == std::vector<std::uint32_t>{3, 65541, far});
  CHECK(machine.pages().bytes(far)[1] == 2);
  CHECK(machine.page_hash(far) == hash128(machine.pages().bytes(far)));
  CHECK(machine.page_hash(far + 1) == Machine::zero_page_hash());
  std::vector<std::uint64_t> pages;
  machine.pages().for_each_page([&](std::uint64_t page) { pages.push_back(page); });
  CHECK(std::vector<std::uint64_t>(pages.end() - 2, pages.end()) ==
        std::vector<std::uint64_t>{65541, far});
}

TEST_CASE("the digest depends on what regions hold, not on how they came to it") {
  const auto digest_after = [](std::uint64_t seed, bool restored) {
    Machine machine(small());
    PagedRegion& disk = machine.memory().add_region("disk", 1ULL << 30);
    std::vector<std::uint64_t> pages{7, 9, 100'000, 262'143};
    std::mt19937_64 random(seed);
    std::shuffle(pages.begin(), pages.end(), random);
    for (const std::uint64_t page : pages) {
      disk.write(page * kPageSize, Bytes{static_cast<std::uint8_t>(seed)});
      if (random() % 2 == 0) (void)machine.digest();
      Bytes content(kPageSize, 0);
      content[3] = static_cast<std::uint8_t>(page);
      if (restored) {
        (void)machine.close_epoch();
        machine.replace_page(65536 + page, content, hash128(content));
      } else {
        disk.write(page * kPageSize, content);
      }
    }
    disk.write(50 * kPageSize, Bytes{1});
    if (random() % 2 == 0) (void)machine.digest();
    disk.write(50 * kPageSize, Bytes{0});
    return machine.digest();
  };
  const Hash128 expected = digest_after(1, false);
  for (std::uint64_t seed = 2; seed < 6; ++seed) {
    CHECK(digest_after(seed, seed % 2 == 0) == expected);
  }
  Machine other(small());
  PagedRegion& disk = other.memory().add_region("disk", 1ULL << 30);
  const Hash128 empty = other.digest();
  CHECK(empty != Machine(small()).digest());
  CHECK(empty != expected);
  disk.write(7 * kPageSize, Bytes{1});
  const Hash128 here = other.digest();
  disk.write(7 * kPageSize, Bytes{0});
  disk.write(8 * kPageSize, Bytes{1});
  CHECK(other.digest() != here);  // the same bytes elsewhere
}

TEST_CASE("a state whose regions lie elsewhere is refused, and so is one without them") {
  const auto sections_with = [](std::uint64_t size) {
    Machine machine(small());
    if (size != 0) machine.memory().add_region("disk", size);
    return machine.save_sections();
  };
  const auto load = [](std::uint64_t size, const std::vector<Section>& sections) {
    Machine machine(small());
    if (size != 0) machine.memory().add_region("disk", size);
    machine.load_sections(sections);
  };
  CHECK_NOTHROW(load(kMiB, sections_with(kMiB)));
  CHECK_THROWS_WITH_AS(load(kMiB, sections_with(2 * kMiB)), doctest::Contains("region disk"),
                       Error);
  CHECK_THROWS_WITH_AS(load(kMiB, sections_with(0)),
                       doctest::Contains("section regions is missing"), Error);
  CHECK_THROWS_WITH_AS(load(0, sections_with(kMiB)), doctest::Contains("regions"), Error);
}

}  // namespace chronovisor
