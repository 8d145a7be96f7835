#include "tests/replica/simulation.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

namespace chronovisor::replica::simulation {
namespace {

constexpr unsigned kSteps = 200;

/// Adds up what happened in schedules, so that a simulation that tries nothing is noticed.
struct Total {
  std::uint64_t released = 0;
  std::uint64_t repeated = 0;
  std::uint64_t takeovers = 0;
  std::uint64_t hand_overs = 0;
  std::uint64_t guarded = 0;
  std::uint64_t stopped = 0;
  std::uint64_t guarded_by_two = 0;
  std::uint64_t overtaken = 0;
  void add(const Outcome& outcome) {
    released += outcome.released;
    repeated += outcome.repeated;
    takeovers += outcome.takeovers;
    hand_overs += outcome.hand_overs;
    guarded += outcome.guarded;
    stopped += outcome.stopped;
    guarded_by_two += outcome.guarded_by_two;
    overtaken += outcome.overtaken;
  }
};

Total run_all(std::uint64_t first, std::uint64_t count, const Faults& faults) {
  Total total;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = run_schedule(seed, kSteps, faults);
    INFO("seed ", seed);
    REQUIRE(outcome.broken == "");
    total.add(outcome);
  }
  return total;
}

}  // namespace

TEST_CASE("no schedule of faults breaks a promise") {
  const Total total = run_all(1, 2'000, {});
  MESSAGE("outputs ", total.released, ", repeated ", total.repeated, ", takeovers ",
          total.takeovers, ", hand-overs ", total.hand_overs, ", protected ", total.guarded,
          ", stopped ", total.stopped, ", by two ", total.guarded_by_two, ", overtaken ",
          total.overtaken);
  CHECK(total.takeovers > 500);
  CHECK(total.hand_overs > 50);
  CHECK(total.stopped > 50);
  CHECK(total.repeated > 0);
  CHECK(total.guarded_by_two > 10'000);
  CHECK(total.overtaken > 100);
}

TEST_CASE("a schedule is the same each time it is run") {
  const Outcome first = run_schedule(77, kSteps, {});
  const Outcome again = run_schedule(77, kSteps, {});
  CHECK(first.released == again.released);
  CHECK(first.marks == again.marks);
  CHECK(first.takeovers == again.takeovers);
}

TEST_CASE("without faults nothing is repeated and nobody stops") {
  const Faults none{0, 0, 0, 0, 0, 0, 0, 0, 0};
  const Total total = run_all(1, 50, none);
  CHECK(total.repeated == 0);
  CHECK(total.takeovers == 0);
  CHECK(total.guarded == 100);
}

}  // namespace chronovisor::replica::simulation
