// What is armed, and where a timeline stands, after something was thrown in the
// middle of a travel.
#include <doctest/doctest.h>

#include <atomic>

#include "base/error.h"
#include "tests/timetravel/divergent_recording.h"
#include "timetravel/replay.h"
#include "timetravel/timeline.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kLoop = 0x7c00 + 22;  ///< the guest's loop: reached each round

StopSet loop_never() {
  StopSet stops;
  stops.breakpoints.push_back({kLoop, [](Machine&) { return false; }});
  return stops;
}

struct Fixture {
  std::unique_ptr<RecordingReader> reader = testing::divergent_recording();
  Timeline timeline{*reader, TimelineOptions{.jobs = 1, .use_index = false}};
};

}  // namespace

TEST_CASE("after a divergence in a search nothing stays armed") {
  Fixture f;
  f.timeline.seek({{6'000}, 0});
  CHECK_THROWS_AS(f.timeline.run_forward(loop_never(), {}), DivergenceError);
  // An armed breakpoint would stop these, and be taken for the end of the replay.
  CHECK(f.timeline.seek({{1'234}, 0}) == TravelStop::arrived);
  CHECK(f.timeline.now() == Moment{{1'234}, 0});
  CHECK(f.timeline.seek({{4'000}, 0}) == TravelStop::arrived);
  StopSet stops;
  stops.breakpoints.push_back({kLoop, {}});
  CHECK(f.timeline.run_forward(stops, {}).stop == TravelStop::breakpoint);
  CHECK(f.timeline.run_backward(stops, {}).stop == TravelStop::breakpoint);
  CHECK(f.timeline.now() < Moment{{4'000}, 0});
}

TEST_CASE("after an error in a condition nothing stays armed, in either direction") {
  Fixture f;
  StopSet stops;
  stops.breakpoints.push_back({kLoop, [](Machine& machine) -> bool {
                                 if (machine.position().steps < 2'000) return false;
                                 throw Error(ErrorCode::bad_input, "a condition that fails");
                               }});
  CHECK_THROWS_AS(f.timeline.run_forward(stops, {}), Error);
  CHECK(f.timeline.seek({{3'000}, 0}) == TravelStop::arrived);
  CHECK_THROWS_AS(f.timeline.run_backward(stops, {}), Error);
  CHECK(f.timeline.now() == Moment{{3'000}, 0});
  CHECK(f.timeline.step_backward().stop == TravelStop::arrived);
  CHECK(f.timeline.now() == Moment{{2'999}, 0});
}

TEST_CASE("after an input that cannot be delivered nothing stays armed") {
  // The log says that time had been spent idle before; the guest never is.
  const StartCondition start = testing::tiny_start();
  const Bytes code = testing::tiny_guest(3'000);
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start.to_json());
  writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
  writer.input({{3'000}, 5, InputKind::serial_byte, 0, {'x'}});
  writer.advance_to({20'000});
  writer.finish("{}");
  const auto reader = testing::open_bytes(*bytes);
  Timeline timeline(*reader, TimelineOptions{.jobs = 1, .use_index = false});
  CHECK_THROWS_AS(timeline.run_forward(loop_never(), {}), Error);
  CHECK(timeline.seek({{2'000}, 0}) == TravelStop::arrived);
  CHECK(timeline.now() == Moment{{2'000}, 0});
  CHECK_THROWS_AS(timeline.excursion([&] { return timeline.seek({{9'000}, 0}); }), Error);
  CHECK(timeline.now() == Moment{{2'000}, 0});
  StopSet stops;
  stops.breakpoints.push_back({kLoop, {}});
  CHECK(timeline.run_backward(stops, {}).stop == TravelStop::breakpoint);
}

TEST_CASE("a cancel flag that goes away after an error is not looked at") {
  Fixture f;
  f.timeline.seek({{6'000}, 0});
  {
    const auto cancel = std::make_unique<std::atomic<bool>>(false);
    CHECK_THROWS_AS(f.timeline.run_forward(loop_never(), *cancel), DivergenceError);
    *cancel = true;
  }
  CHECK(f.timeline.seek({{100}, 0}) == TravelStop::arrived);
}

TEST_CASE("an excursion comes back, whatever happens on it") {
  Fixture f;
  const Moment origin{{6'500}, 0};
  f.timeline.seek(origin);
  const Hash128 there = f.timeline.machine().digest();
  CHECK_THROWS_AS(
      f.timeline.excursion([&] { return f.timeline.run_forward(loop_never(), {}, {12'000}).stop; }),
      DivergenceError);
  CHECK(f.timeline.now() == origin);
  CHECK(f.timeline.machine().digest() == there);
  CHECK_THROWS_AS(f.timeline.excursion([&]() -> int {
    f.timeline.seek({{1'000}, 0});
    throw Error(ErrorCode::usage, "changed its mind");
  }),
                  Error);
  CHECK(f.timeline.now() == origin);
  CHECK(f.timeline.excursion([&] {
    f.timeline.seek({{2'000}, 0});
    return f.timeline.now().position.steps;
  }) == 2'000);
  CHECK(f.timeline.now() == origin);
  CHECK(f.timeline.machine().digest() == there);
}

TEST_CASE("a cancelled way back leaves the timeline where it was") {
  Fixture f;
  const Moment origin{{6'500}, 0};
  f.timeline.seek(origin);
  const std::atomic<bool> cancel{true};
  CHECK(f.timeline.run_backward(loop_never(), cancel).stop == TravelStop::interrupted);
  CHECK(f.timeline.now() == origin);
}

}  // namespace chronovisor
