// Many steps at once end where as many single ones do, in either direction, with
// and without interrupts passed over.
#include <doctest/doctest.h>

#include "session/interrupt_stepping.h"
#include "tests/timetravel/random_recordings.h"

namespace chronovisor::session {
namespace {

struct Fixture {
  explicit Fixture(std::uint64_t seed)
      : reader(test::record_to(test::tiny(seed, 40), seed, options(), {40'000})) {}
  static RecorderOptions options() {
    RecorderOptions options;
    options.checkpoint_every_steps = 4'000;
    options.checkpoint_budget_percent = 0;
    return options;
  }
  std::unique_ptr<RecordingReader> reader;
  Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
  InterruptStepping stepping{timeline};
};

}  // namespace

TEST_CASE("many steps on are as many single steps") {
  std::uint64_t passed = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    for (const bool skip : {true, false}) {
      Fixture f(seed);
      std::mt19937_64 random(seed);
      const std::uint64_t end = f.timeline.end().steps;
      for (int n = 0; n < 4; ++n) {
        const Moment from{{random() % (end / 2)}, 0};
        const std::uint64_t count = 1 + random() % 600;
        CAPTURE(seed);
        CAPTURE(skip);
        CAPTURE(from.position.steps);
        CAPTURE(count);
        f.timeline.seek(from);
        std::uint64_t single = 0;
        while (single < count && f.stepping.forward({}, skip, {}).stop == TravelStop::arrived) {
          ++single;
        }
        const Moment there = f.timeline.now();
        passed += there.position.steps - from.position.steps -
                  std::min(single, there.position.steps - from.position.steps);
        f.timeline.seek(from);
        CHECK(f.stepping.forward_many(count, skip, {}) == single);
        CHECK(f.timeline.now() == there);
      }
    }
  }
  CHECK(passed > 0);  // some handlers lay on the way
}

TEST_CASE("many steps back undo as many steps on") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    for (const bool skip : {true, false}) {
      Fixture f(seed);
      std::mt19937_64 random(seed);
      const std::uint64_t end = f.timeline.end().steps;
      for (int n = 0; n < 6; ++n) {
        const Moment from{{end / 4 + random() % (end / 2)}, 0};
        const std::uint64_t count = 1 + random() % 500;
        CAPTURE(seed);
        CAPTURE(skip);
        CAPTURE(from.position.steps);
        CAPTURE(count);
        f.timeline.seek(from);
        REQUIRE(f.stepping.forward_many(count, skip, {}) == count);
        const Moment there = f.timeline.now();
        CHECK(f.stepping.backward_many(count, skip, {}) == count);
        CHECK(f.stepping.forward_many(count, skip, {}) == count);
        CHECK(f.timeline.now() == there);
      }
    }
  }
}

TEST_CASE("many steps end where the recording does") {
  Fixture f(1);
  const std::uint64_t end = f.timeline.end().steps;
  f.timeline.seek({{end - 50}, 0});
  CHECK(f.stepping.forward_many(1'000'000, false, {}) >= 50);
  CHECK(f.timeline.now().position == Position{end});
  CHECK(f.stepping.forward_many(1, false, {}) == 0);
  f.timeline.seek({{70}, 0});
  CHECK(f.stepping.backward_many(1'000'000, false, {}) >= 70);
  CHECK(f.timeline.now() == Moment{{0}, 0});
  CHECK(f.stepping.backward_many(1, false, {}) == 0);
}

}  // namespace chronovisor::session
