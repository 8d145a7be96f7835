// A step back goes where the step on came from, whatever a handler's first
// instruction is, and whatever becomes of the interrupt table meanwhile.
#include <doctest/doctest.h>

#include "session/interrupt_stepping.h"
#include "tests/timetravel/random_recordings.h"

namespace chronovisor::session {
namespace {

constexpr unsigned kTarget = 0x2060;   ///< where the timer's handler jumps to
constexpr unsigned kEmptied = 0x2062;  ///< how often the table was emptied
constexpr unsigned kTimerVector = 0x20;
constexpr unsigned kServiceVector = 0x30;

/// Its timer's handler begins with a jump through memory, its service's is one IRET, and
/// between two turns the vectors are other ones.
test::Guest jumping_guest() {
  test::Assembler a;
  test::emit_prologue(a, 60);
  a.store_label(kTarget, "timer_body");
  a.store_label(4 * kTimerVector, "timer_jump");
  a.store_label(4 * kServiceVector, "only_return");
  a.bytes({0xbb});  // mov bx, rounds
  a.word(400);
  a.label("loop");
  a.increment_word(test::kCounter);
  a.bytes({0xcd, kServiceVector});
  a.bytes({0x30, 0xc9, 0xf6, 0xf1});  // xor cl, cl; div cl: #DE
  a.bytes({0xfa});
  a.store_word(4 * kTimerVector, 0);
  a.increment_word(kEmptied);
  a.store_label(4 * kTimerVector, "timer_jump");
  a.bytes({0xfb, 0xf4});  // sti; hlt
  a.bytes({0x4b});        // dec bx
  a.jump_if_not_zero("loop");
  a.store_word(4 * kTimerVector, 0);
  a.bytes({0xfa, 0xba, 0xf4, 0x00, 0x30, 0xc0, 0xee, 0xf4});  // debug exit 0
  a.label("timer_jump");
  a.bytes({0xff, 0x26});
  a.word(kTarget);
  a.label("only_return");
  a.bytes({0xcf});
  test::emit_handlers(a);
  a.label("timer_body");  // far from the gate
  a.bytes({0x50});
  a.increment_word(test::kTimerCount);
  a.out_byte(0x20, 0x20);
  a.bytes({0x58, 0xcf});
  test::Guest guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 1 << 20;
  guest.image = a.finish();
  return guest;
}

std::vector<Moment> steps_on(Timeline& timeline, InterruptStepping& stepping, bool skip, int most) {
  std::vector<Moment> moments{timeline.now()};
  while (static_cast<int>(moments.size()) <= most &&
         stepping.forward({}, skip, {}).stop == TravelStop::arrived) {
    moments.push_back(timeline.now());
  }
  return moments;
}

}  // namespace

TEST_CASE("a step back is the inverse of a step on") {
  RecorderOptions options;
  options.checkpoint_every_steps = 3'000;
  options.checkpoint_budget_percent = 0;
  std::vector<std::unique_ptr<RecordingReader>> recordings;
  recordings.push_back(test::record_to(jumping_guest(), 1, options, {20'000}));
  recordings.push_back(test::record_to(test::tiny(5, 40), 5, options, {20'000}));
  std::size_t entered = 0;
  for (const auto& reader : recordings) {
    Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
    InterruptStepping stepping(timeline);
    for (const std::uint64_t from :
         {std::uint64_t{0}, std::uint64_t{2'345}, std::uint64_t{6'000}}) {
      CAPTURE(from);
      timeline.seek({{from}, 0});
      const std::vector<Moment> on = steps_on(timeline, stepping, false, 900);
      for (std::size_t n = on.size(); n-- > 1;) {
        REQUIRE(timeline.now() == on[n]);
        if (on[n].deliveries > 0) ++entered;
        REQUIRE(stepping.backward({}, false, {}).stop == TravelStop::arrived);
      }
      CHECK(timeline.now() == on.front());
    }
  }
  CHECK(entered > 100);
}

TEST_CASE("stepping back passes over handlers that jump, or do nothing but return") {
  RecorderOptions options;
  options.checkpoint_budget_percent = 0;
  const auto reader = test::record_to(jumping_guest(), 1, options, {20'000});
  Timeline timeline{*reader, TimelineOptions{.jobs = 1}};
  InterruptStepping stepping(timeline);
  timeline.seek({{5'000}, 0});
  std::vector<std::uint64_t> on;
  for (const Moment& moment : steps_on(timeline, stepping, true, 400)) {
    timeline.seek(moment);
    on.push_back(timeline.machine().cpu().linear_rip());
  }
  // By instructions: where a handler was passed over there are two moments of one.
  for (std::size_t n = on.size(); n-- > 1;) {
    CHECK(timeline.machine().cpu().linear_rip() == on[n]);
    REQUIRE(stepping.backward({}, true, {}).stop == TravelStop::arrived);
  }
  CHECK(timeline.machine().cpu().linear_rip() == on.front());
}

}  // namespace chronovisor::session
