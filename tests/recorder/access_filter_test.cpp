// What a filter over many intervals rules out happened in none of them, and a search asks
// few of them.
#include "recorder/format/access_filter.h"

#include <doctest/doctest.h>

#include <memory>
#include <random>

#include "base/error.h"
#include "recorder/format/interval_groups.h"
#include "tests/recorder/filter_sample.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

IntervalAccesses random_accesses(std::mt19937_64& random) {
  IntervalAccesses accesses;
  std::uint64_t at = 0xffff'ffff'8100'0000;
  for (std::uint64_t n = random() % 40; n > 0; --n) {
    at += 1 + random() % 5000;
    const std::uint64_t last = at + random() % 300;
    accesses.code.push_back({at, last});
    at = last + 1;
  }
  std::uint64_t page = 0x7f00'0000;
  for (std::uint64_t n = random() % 40; n > 0; --n) {
    page += 1 + random() % 50;
    const bool all = random() % 4 == 0;
    accesses.pages.push_back(
        {page, random() % 2 == 0, all, all || random() % 3 == 0 ? 0 : random()});
  }
  return accesses;
}

/// Everything that `accesses` list, and a little beside it.
template <class Check>
void for_each_place(const IntervalAccesses& accesses, std::mt19937_64& random, const Check& check) {
  for (const CodeRun& run : accesses.code) {
    for (const std::uint64_t address : {run.first, run.last, run.first - 1, run.last + 1}) {
      check(address, true, std::uint64_t{1}, false, false);
    }
  }
  for (const TouchedPage& page : accesses.pages) {
    const std::uint64_t address = page.page * kPageSize + random() % kPageSize;
    for (const bool write : {false, true}) {
      check(address, false, 1 + random() % 9000, !write || random() % 2 == 0, write);
    }
  }
}

}  // namespace

TEST_CASE("a filter rules out nothing that one of its intervals lists") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<IntervalAccesses> all;
    AccessFilter filter;
    for (int n = 0; n < 30; ++n) {
      all.push_back(random_accesses(random));
      filter.add(all.back());
    }
    AccessFilter sum;
    sum.add(filter);
    const AccessFilter read = AccessFilter::decode(sum.encode(), "filter");
    for (const IntervalAccesses& accesses : all) {
      for_each_place(
          accesses, random,
          [&](std::uint64_t address, bool code, std::uint64_t length, bool reads, bool writes) {
            if (code ? accesses.may_execute(address)
                     : accesses.may_access(address, length, reads, writes)) {
              CHECK((code ? read.may_execute(address)
                          : read.may_access(address, length, reads, writes)));
            }
          });
    }
  }
}

TEST_CASE("a filter rules out most of what none of its intervals lists") {
  std::mt19937_64 random(6);
  AccessFilter filter;
  for (int n = 0; n < 64; ++n) filter.add(random_accesses(random));
  unsigned wrong = 0;
  for (int n = 0; n < 1000; ++n) {
    const std::uint64_t elsewhere = 0x1'0000'0000 + random() % (1ULL << 40);
    wrong += filter.may_execute(elsewhere) ? 1 : 0;
    wrong += filter.may_access(elsewhere, 8, true, true) ? 1 : 0;
  }
  CHECK(wrong < 20);
}

TEST_CASE("a filter knows what is in no list: devices, everything, the end of all addresses") {
  IntervalAccesses accesses;
  AccessFilter filter;
  CHECK_FALSE(filter.may_execute(0));
  CHECK_FALSE(filter.may_access(0x1000, 8, true, true));
  CHECK(filter.may_access(~std::uint64_t{0} - 3, 8, true, false));
  accesses.devices.push_back({"ide", {{1, 1}}});
  filter.add(accesses);
  CHECK(filter.may_access(0x1000, 8, false, true));
  CHECK_FALSE(filter.may_access(0x1000, 8, true, false));
  IntervalAccesses last;
  last.code.push_back({~std::uint64_t{0} - 1, ~std::uint64_t{0}});
  filter.add(last);
  CHECK(filter.may_execute(~std::uint64_t{0}));
  filter.add_everything();
  const AccessFilter read = AccessFilter::decode(filter.encode(), "filter");
  CHECK(read.may_execute(0));
  CHECK(read.may_access(0x1000, 8, true, false));
}

TEST_CASE("a filter from anywhere is refused or read") {
  std::mt19937_64 random(7);
  const Bytes sound = AccessFilter().encode();
  for (int n = 0; n < 300; ++n) {
    Bytes bytes(sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(random() % 40));
    for (std::uint8_t& byte : bytes) {
      if (random() % 4 == 0) byte = static_cast<std::uint8_t>(random());
    }
    try {
      (void)AccessFilter::decode(bytes, "filter").may_access(random(), random() % 64, true, true);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_input);
    }
  }
}

TEST_CASE("groups of intervals get filters, and groups of groups") {
  IntervalGroups groups;
  std::vector<IntervalGroups::Full> full;
  const Bytes nothing = IntervalAccesses{}.encode();
  const std::uint64_t count = kFilterGroup * kFilterGroup + kFilterGroup;
  for (std::uint64_t n = 0; n < count; ++n) {
    for (IntervalGroups::Full& group : groups.add(Position{n}, Position{n + 1}, nothing)) {
      full.push_back(std::move(group));
    }
  }
  REQUIRE(full.size() == kFilterGroup + 2);
  CHECK(full[0].level == 0);
  CHECK(full[0].from == Position{0});
  CHECK(full[0].to == Position{kFilterGroup});
  CHECK(full[kFilterGroup].level == 1);
  CHECK(full[kFilterGroup].from == Position{0});
  CHECK(full[kFilterGroup].to == Position{kFilterGroup * kFilterGroup});
  CHECK(full.back().level == 0);
  // A gap begins anew.
  IntervalGroups gap;
  for (std::uint64_t n = 0; n + 1 < kFilterGroup; ++n) {
    CHECK(gap.add(Position{n}, Position{n + 1}, nothing).empty());
  }
  CHECK(gap.add(Position{1000}, Position{1001}, nothing).empty());
}

TEST_CASE("the index leads to the filters, also after a kill") {
  for (const bool finish : {true, false}) {
    const RecordingReader reader(std::make_shared<MemoryInputFile>(filter_sample_bytes(finish)));
    check_filter_sample(reader);
    CHECK_FALSE(reader.group_from(0, Position{5}));
    CHECK_FALSE(reader.group_from(1, Position{0}));
    CHECK(reader.verify_bytes().empty() == finish);
  }
}
