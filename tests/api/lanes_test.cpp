// What happened where, in bins: nothing is lost or counted twice, at any zoom.
#include <doctest/doctest.h>

#include <numeric>

#include "api/activity.h"
#include "api/lanes.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::api {
namespace {

using namespace testing;

std::uint64_t sum(const std::vector<std::uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

TEST_CASE("bins hold everything between the first and the last position once") {
  Lane lane("lane", "console", "bytes");
  for (std::uint64_t n = 0; n <= 1000; ++n) lane.add({n * 7}, 2);
  CHECK(lane.total() == 2002);
  for (const std::uint64_t bins : {1U, 2U, 3U, 7U, 512U, 4096U}) {
    CHECK(sum(lane.counts({{0}, {7000}, bins})) == 2002);
    CHECK(sum(lane.counts({{0}, {6999}, bins})) == 2000);
    CHECK(sum(lane.counts({{1}, {7000}, bins})) == 2000);
    CHECK(sum(lane.counts({{7}, {7}, bins})) == 2);
  }
  CHECK(lane.counts({{0}, {28}, 2}) == std::vector<std::uint64_t>{4, 6});
}

TEST_CASE("what happens at one position is one place") {
  Lane lane("lane", "console", "bytes");
  lane.add({5}, 1);
  lane.add({5}, 3);
  CHECK(lane.counts({{5}, {5}, 1}) == std::vector<std::uint64_t>{4});
  CHECK(lane.counts({{0}, {4}, 1}) == std::vector<std::uint64_t>{0});
}

TEST_CASE("of very many places neighbours become one, and none is lost") {
  Lane lane("lane", "idle", "waits");
  constexpr std::uint64_t kPlaces = 10'000'000;
  for (std::uint64_t n = 0; n < kPlaces; ++n) lane.add({n * 10'000}, 1);
  CHECK(lane.grain_bits() > 0);
  CHECK(lane.total() == kPlaces);
  CHECK(sum(lane.counts({{0}, {kPlaces * 10'000}, 4096})) == kPlaces);
}

TEST_CASE("bins of the longest recording do not overflow") {
  const Bins bins{{3}, {kNever - 1}, 4096};
  CHECK(bins.first_of(0) == 3);
  for (std::uint64_t bin = 0; bin + 1 < bins.count; ++bin) {
    REQUIRE(bins.first_of(bin) < bins.first_of(bin + 1));
  }
}

TEST_CASE("the lanes of a recording are its log's") {
  const auto bytes = record_tiny({.inputs = {{30'000, 'a'}, {70'000, 'b'}}});
  const auto reader = open_bytes(bytes);
  const std::vector<Lane> lanes = lanes_of(*reader, {});
  const auto named = [&](const std::string& name) -> const Lane& {
    const auto found = std::find_if(lanes.begin(), lanes.end(),
                                    [&](const Lane& lane) { return lane.name() == name; });
    REQUIRE(found != lanes.end());
    return *found;
  };
  CHECK(named("to serial0").total() == 2);
  CHECK(named("to serial0").counts({{0}, {100'000}, 2}) == std::vector<std::uint64_t>{1, 1});
  CHECK(named("checkpoints").total() == reader->checkpoints().size());
}

TEST_CASE("bins are looked at from coarse to fine, each once") {
  const auto reader = open_bytes(record_tiny({}));
  Timeline timeline(*reader, {});
  for (const std::uint64_t count : {1U, 2U, 3U, 100U, 256U, 1024U}) {
    const ActivityScan far(timeline, {{0}, {kMostExactSteps + 1}, count});
    CHECK_FALSE(far.exact());
    std::set<std::uint64_t> seen;
    for (std::uint64_t n = 0; n < count; ++n) seen.insert(far.bin_at(n));
    CHECK(seen.size() == count);
    CHECK(*seen.rbegin() == count - 1);
    CHECK(far.bin_at(0) == 0);
  }
  CHECK(ActivityScan(timeline, {{0}, {100}, 4}).exact());
}

}  // namespace
}  // namespace chronovisor::api
