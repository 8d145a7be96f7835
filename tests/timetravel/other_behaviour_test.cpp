// Recordings of a machine whose behaviour this program does not replay.
#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/timetravel/random_recordings.h"
#include "timetravel/replay.h"
#include "timetravel/restore.h"
#include "timetravel/state_difference.h"
#include "timetravel/timeline.h"

namespace chronovisor {

TEST_CASE("what needs no replay can be had of a recording that is not replayed") {
  test::Guest guest = test::tiny(7, 200);
  guest.start.machine.behaviour_version = 4711;
  RecorderOptions options;
  options.checkpoint_every_steps = 2000;
  options.checkpoint_budget_percent = 0;
  const auto reader = test::record(guest, 7, options);
  REQUIRE(reader->checkpoints().size() > 3);

  const auto refused = [](auto&& work) {
    try {
      work();
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_input);
      return std::string(error.what()).find("behaviour version 4711") != std::string::npos;
    }
    return false;
  };
  CHECK(refused([&] { Timeline(*reader, {}); }));
  CHECK(refused([&] { ReplayRun(*reader, std::nullopt, std::nullopt); }));
  CHECK(refused([&] { ReplayRun(*reader, Position{4000}, std::nullopt); }));

  for (std::size_t n = 0; n < reader->checkpoints().size(); ++n) {
    const auto machine = machine_at_checkpoint(*reader, n);
    CHECK(machine->position() == reader->checkpoints()[n].position);
    CHECK(machine->digest() == reader->checkpoints()[n].digest);
    LiveState live(*machine);
    RecordedState recorded(*reader, n);
    CHECK(compare_states(live, recorded).empty());
  }
  CHECK(start_of(*reader).machine.behaviour_version == 4711);
  CHECK(reader->verify_bytes().empty());
}

}  // namespace chronovisor
