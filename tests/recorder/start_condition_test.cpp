// The starting condition in a recording's metadata: what it names, and what is
// refused.
#include "recorder/format/start_condition.h"

#include <doctest/doctest.h>

#include <array>

#include <memory>
#include <string>

#include "base/error.h"
#include "recorder/live/recording_child.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

std::unique_ptr<RecordingReader> recording_of(const std::string& metadata,
                                              const std::string& summary) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), metadata);
  writer.advance_to(Position{50});
  writer.finish(summary);
  return std::make_unique<RecordingReader>(
      std::make_shared<MemoryInputFile>(*bytes, "some/run.cvr"));
}

std::string without(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a child's starting condition names its parent, and comes back from the metadata") {
  StartCondition start;
  start.kernel_name = "bzImage";
  const auto parent = recording_of(start.to_json(), "{}");
  CHECK(begins_at_power_on(*parent));
  Departure departure;
  departure.position = Position{17};
  departure.deliveries = 2;
  departure.digest = hash128(as_bytes("there"));
  departure.changed_by_hand = true;
  const StartCondition child = child_start(*parent, departure);
  const StartCondition back = StartCondition::from_json(child.to_json(), "child");
  REQUIRE(back.parent.has_value());
  CHECK(back.parent->name == "run.cvr");
  CHECK(back.parent->file_id == file_id_text(test_id()));
  CHECK(back.parent->position == Position{17});
  CHECK(back.parent->deliveries == 2);
  CHECK(back.parent->digest == departure.digest.hex());
  CHECK(back.parent->changed_by_hand);
  CHECK(back.kernel_name == "bzImage");
  // It begins with its first checkpoint, even at position 0.
  CHECK(!begins_at_power_on(*recording_of(child.to_json(), "{}")));
  CHECK_THROWS_WITH_AS(
      (void)StartCondition::from_json(
          without(child.to_json(), "\"deliveries\": 2", "\"deliveries\": \"x\""), "child"),
      doctest::Contains("metadata"), Error);
}

TEST_CASE("a recording whose machine has another state version is refused by both numbers") {
  const StartCondition start;
  const std::string now = "\"state_version\": " + std::to_string(kMachineStateVersion);
  const auto newer = recording_of(without(start.to_json(), now, "\"state_version\": 4711"), "{}");
  try {
    (void)runnable_start_of(*newer);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_input);
    CHECK(std::string(error.what()).find("4711") != std::string::npos);
    CHECK(std::string(error.what()).find("version " + std::to_string(kMachineStateVersion)) ==
          std::string::npos);
    CHECK(std::string(error.what()).find("has " + std::to_string(kMachineStateVersion)) !=
          std::string::npos);
  }
  // It can still be looked at.
  CHECK(start_of(*newer).state_version == 4711);
  // Before versions were written down there was one.
  const auto older = recording_of(without(start.to_json(), now, "\"other\": 0"), "{}");
  CHECK(start_of(*older).state_version == 1);
}

TEST_CASE(
    "a recording of a behaviour that this program has is replayed, any other refused by name") {
  const StartCondition start;
  CHECK(StartCondition::from_json(start.to_json(), "it").machine.behaviour_version ==
        kMachineBehaviourVersion);
  const std::string now = "\"behaviour_version\": " + std::to_string(kMachineBehaviourVersion);
  const auto older = recording_of(without(start.to_json(), now, "\"other\": 0"), "{}");
  CHECK(runnable_start_of(*older).machine.behaviour_version == 1);
  // Whoever goes on from it does so on this program's machine.
  CHECK(child_start(*older, Departure{}).machine.behaviour_version == kMachineBehaviourVersion);
  const auto newer = recording_of(without(start.to_json(), now, "\"behaviour_version\": 47"), "{}");
  CHECK_THROWS_WITH_AS((void)runnable_start_of(*newer), doctest::Contains("behaviour version 47"),
                       Error);
  CHECK_THROWS_AS((void)child_start(*newer, Departure{}), Error);
  // It can still be looked at.
  CHECK(inspectable_start_of(*newer).machine.behaviour_version == 47);
}

TEST_CASE("a behaviour that is no longer there names the release that replays it") {
  constexpr std::array kKnown{BehaviourVersion{1, "the first", "0.1.0", false},
                              BehaviourVersion{2, "something", "0.4.2", false},
                              BehaviourVersion{3, "something else", "1.0.0", true}};
  CHECK_NOTHROW(require_replayable(3, "a.cvr", kKnown));
  CHECK_THROWS_WITH_AS(require_replayable(2, "a.cvr", kKnown),
                       doctest::Contains("a.cvr: its machine has behaviour version 2, which this "
                                         "program no longer has: replay it with chronovisor 0.4.2"),
                       Error);
  CHECK_THROWS_WITH_AS(require_replayable(4, "a.cvr", kKnown), doctest::Contains("up to 3"), Error);
  CHECK_THROWS_AS(require_replayable(0, "a.cvr", kKnown), Error);
}

TEST_CASE("a recording names its machine model; without a name it is the first") {
  const StartCondition start;
  const std::string json = start.to_json();
  CHECK(StartCondition::from_json(json, "it").machine.model == "pc-1");
  const std::string now = "\"model\": \"pc-1\"";
  const auto older = recording_of(without(json, now, "\"other\": 0"), "{}");
  CHECK(runnable_start_of(*older).machine.model == "pc-1");
  const auto other = recording_of(without(json, now, "\"model\": \"pc-98\""), "{}");
  CHECK_THROWS_WITH_AS((void)inspectable_start_of(*other),
                       doctest::Contains("model \"pc-98\"; this program has pc-1"), Error);
  CHECK(start_of(*other).machine.model == "pc-98");
}

TEST_CASE("metadata whose values would be taken for others is refused, by name") {
  const StartCondition start;
  const std::string json = start.to_json();
  const std::string state = "\"state_version\": " + std::to_string(kMachineStateVersion);
  const std::string memory = "\"memory_bytes\": " + std::to_string(start.machine.memory_bytes);
  struct Case {
    std::string from;
    std::string to;
    const char* why;
  };
  for (const Case& one :
       {Case{state, "\"state_version\": 4294967297", "state_version is too large a number"},
        Case{state, "\"state_version\": 1.5", "state_version is no whole number"},
        Case{state, "\"state_version\": -1", "state_version is negative"},
        Case{memory, "\"memory_bytes\": 1e30", "memory_bytes is no whole number"},
        Case{memory, "\"memory_bytes\": 18446744073709551616", "memory_bytes is no whole number"},
        Case{state, state + ", \"section_versions\": {\"cpu\": 4294967297}",
             "cpu is too large a number"},
        Case{"\"model\": \"pc-1\"", "\"model\": \"pc-1\\u0000\"", "model has a NUL in its text"}}) {
    CAPTURE(one.to);
    CHECK_THROWS_WITH_AS((void)StartCondition::from_json(without(json, one.from, one.to), "it"),
                         doctest::Contains(one.why), Error);
  }
}

TEST_CASE("the versions of state sections are written down where they are not 1") {
  StartCondition start;
  CHECK(start.to_json().find("section_versions") == std::string::npos);
  CHECK(StartCondition::from_json(start.to_json(), "it").machine.section_versions->empty());
  start.machine.section_versions.emplace();
  (*start.machine.section_versions)["pit"] = 4;
  const StartCondition back = StartCondition::from_json(start.to_json(), "it");
  CHECK(back.machine.section_versions->at("pit") == 4);
  CHECK_THROWS_WITH_AS(Machine{back.machine},
                       doctest::Contains("section pit has version 4; this program has versions 1 "
                                         "to 1"),
                       Error);
  MachineConfig config;
  config.section_versions.emplace();
  (*config.section_versions)["flux"] = 2;
  CHECK_THROWS_WITH_AS(Machine{config}, doctest::Contains("section flux is of no part"), Error);
}

TEST_CASE("recordings keep the boot layout they were made with, and so do runs from them") {
  StartCondition start;
  CHECK(StartCondition::from_json(start.to_json(), "it").layout == BootLayout::conventional);
  start.layout = BootLayout::from_page_1;
  CHECK(StartCondition::from_json(start.to_json(), "it").layout == BootLayout::from_page_1);
  const auto unwritten = [&](std::uint32_t behaviour_version) {
    start.machine.behaviour_version = behaviour_version;
    return without(start.to_json(), "\"layout\": 0", "\"other\": 0");
  };
  CHECK(StartCondition::from_json(unwritten(1), "it").layout == BootLayout::from_page_1);
  CHECK(StartCondition::from_json(unwritten(2), "it").layout == BootLayout::from_page_1);
  CHECK(StartCondition::from_json(unwritten(3), "it").layout == BootLayout::conventional);
  const StartCondition child = child_start(*recording_of(unwritten(2), "{}"), Departure{});
  CHECK(child.layout == BootLayout::from_page_1);
  CHECK(StartCondition::from_json(child.to_json(), "it").layout == BootLayout::from_page_1);
  CHECK_THROWS_WITH_AS((void)StartCondition::from_json(
                           without(start.to_json(), "\"layout\": 0", "\"layout\": 9"), "it"),
                       doctest::Contains("layout 9"), Error);
}

TEST_CASE("nothing goes on from where the guest ended") {
  const StartCondition start;
  for (const char* reason : {"poweroff", "reset", "triple-fault", "debug-exit", "halted"}) {
    const auto reader =
        recording_of(start.to_json(), std::string(R"({"exit": {"reason": ")") + reason + "\"}}");
    CHECK_THROWS_WITH_AS(require_guest_runs(*reader, Position{50}), doctest::Contains(reason),
                         Error);
    CHECK_NOTHROW(require_guest_runs(*reader, Position{49}));
  }
  for (const char* summary : {R"({"exit": {"reason": "limit"}})", R"({"exit": {"reason": 3}})",
                              R"({"exit": 1})", "[]", "nonsense"}) {
    CHECK_NOTHROW(require_guest_runs(*recording_of(start.to_json(), summary), Position{50}));
  }
}
