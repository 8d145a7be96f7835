// A full disk is told of before it is full.
#include "cli/space_watch.h"

#include <doctest/doctest.h>

using chronovisor::cli::SpaceWatch;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

}  // namespace

TEST_CASE("it is said once when less than ten minutes are left, and once when less than one is") {
  SpaceWatch watch("/somewhere/run.cvr");
  // 1 MiB a second.
  CHECK_FALSE(watch.look(1 * kMib, 1 * kSecond, 0));  // no rate yet
  CHECK_FALSE(watch.look(100 * kMib, 100 * kSecond, 900 * kMib));
  const auto early = watch.look(400 * kMib, 400 * kSecond, 590 * kMib);
  REQUIRE(early);
  CHECK(early->find("/somewhere/run.cvr") != std::string::npos);
  CHECK(early->find("590 s") != std::string::npos);
  CHECK_FALSE(watch.look(500 * kMib, 500 * kSecond, 490 * kMib));
  CHECK(watch.look(950 * kMib, 950 * kSecond, 40 * kMib));
  CHECK_FALSE(watch.look(960 * kMib, 960 * kSecond, 30 * kMib));
}

TEST_CASE("a disk that is nearly full at once is told of once") {
  SpaceWatch watch("run.cvr");
  // Images of 4 GiB are there at once, and say nothing of the rate.
  CHECK_FALSE(watch.look(4096 * kMib, 1 * kSecond, 1 * kMib));
  CHECK_FALSE(watch.look(4096 * kMib, 9 * kSecond, 1 * kMib));
  CHECK(watch.look(4106 * kMib, 10 * kSecond, 1 * kMib));
  CHECK_FALSE(watch.look(4107 * kMib, 11 * kSecond, 1 * kMib));
}

TEST_CASE("the disk itself is asked") {
  SpaceWatch watch("run.cvr");
  // So fast that any disk is full at once.
  CHECK_FALSE(watch.look(0, 0));
  CHECK(watch.look(std::uint64_t{1} << 62, 6 * kSecond));
  SpaceWatch slow("run.cvr");
  CHECK_FALSE(slow.look(0, 0));
  CHECK_FALSE(slow.look(1, 6 * kSecond));
}
