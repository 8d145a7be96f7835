// Where a run that is recorded gets its checkpoints, by a clock of the test's.
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <vector>

#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/run_recorder.h"

namespace chronovisor {
namespace {

using HostClock = std::function<std::uint64_t(std::uint64_t steps)>;

/// A recording of a guest that counts in a register for `steps` steps.
RecordingReader record_counting(std::uint64_t steps, const HostClock& clock_ns,
                                const RecorderOptions& options) {
  const Bytes image{0x40, 0xeb, 0xfd};  // inc ax; jmp to it
  StartCondition start;
  start.kind = BootKind::flat;
  start.machine.memory_bytes = 2 << 20;
  const auto machine = make_machine(start, [&](const std::string&) { return image; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start.to_json());
  writer.embed_image(kKernelRole, "counting", MemoryInputFile(image));
  NoInput input;
  {
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock_ns(machine->position().steps); },
        options);
    (void)recorder.run({steps}, [](Position) {});
  }
  writer.finish("{}");
  return RecordingReader(std::make_shared<MemoryInputFile>(*bytes));
}

std::vector<std::uint64_t> checkpoint_steps(const RecordingReader& reader) {
  std::vector<std::uint64_t> steps;
  for (const CheckpointInfo& info : reader.checkpoints()) steps.push_back(info.position.steps);
  return steps;
}

bool has_digest_at(const RecordingReader& reader, std::uint64_t steps) {
  for (const DigestRecord& digest : reader.digests()) {
    if (digest.position.steps == steps) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("checkpoints are so many steps apart") {
  RecorderOptions options;
  options.checkpoint_every_steps = 2'000'000;
  const auto reader = record_counting(
      7'000'000, [](std::uint64_t steps) { return steps * 1000; }, options);
  CHECK(checkpoint_steps(reader) ==
        std::vector<std::uint64_t>{0, 2'000'000, 4'000'000, 6'000'000, 7'000'000});
}

TEST_CASE("code that takes long a step gets checkpoints between those") {
  RecorderOptions options;
  options.checkpoint_every_steps = 8'000'000;
  options.checkpoint_every_ns = 100'000'000;
  constexpr std::uint64_t kSlowFrom = 16'000'000;
  const HostClock clock = [](std::uint64_t steps) {
    return steps < kSlowFrom ? steps * 5 : kSlowFrom * 5 + (steps - kSlowFrom) * 20;
  };
  const auto reader = record_counting(28'000'000, clock, options);
  const std::vector<std::uint64_t> steps = checkpoint_steps(reader);
  REQUIRE(steps.size() > 5);
  CHECK(steps[1] == 8'000'000);
  CHECK(steps[2] == 16'000'000);
  // The clock is looked at every two million steps.
  for (std::size_t n = 3; n < steps.size(); ++n) {
    CHECK(clock(steps[n]) - clock(steps[n - 1]) <= 100'000'000 + 2'000'000 * 20);
  }
  // Two recordings of one run can be compared: digests are where the steps say.
  CHECK(has_digest_at(reader, 24'000'000));
}

TEST_CASE("by the time of a seek, checkpoints are as far apart as a replay may take") {
  RecorderOptions options;
  options.follow_seek_time(400'000'000);
  options.checkpoint_budget_percent = 0;
  // Quick code, then code that takes ten times as long a step.
  constexpr std::uint64_t kSlowFrom = 60'000'000;
  const HostClock clock = [](std::uint64_t steps) {
    return steps < kSlowFrom ? steps * 5 : kSlowFrom * 5 + (steps - kSlowFrom) * 50;
  };
  const auto reader = record_counting(100'000'000, clock, options);
  const std::vector<std::uint64_t> steps = checkpoint_steps(reader);
  REQUIRE(steps.size() > 4);
  CHECK(steps[1] > 50'000'000);
  for (std::size_t n = 1; n < steps.size(); ++n) {
    CHECK(clock(steps[n]) - clock(steps[n - 1]) <= 300'000'000 + 2'000'000 * 50);
  }
}

TEST_CASE("a guest that waits most of the time gets no checkpoints for it") {
  RecorderOptions options;
  options.checkpoint_every_steps = 20'000'000;
  options.checkpoint_every_ns = 1'000'000;
  const auto reader = record_counting(
      19'000'000, [](std::uint64_t steps) { return steps * 1000; }, options);
  const std::vector<std::uint64_t> steps = checkpoint_steps(reader);
  REQUIRE(steps.size() > 3);
  for (std::size_t n = 1; n + 1 < steps.size(); ++n) {
    CHECK(steps[n] - steps[n - 1] >= 1ULL << 22);
  }
}

TEST_CASE("beyond their budget checkpoints are left out, but never two in a row") {
  constexpr std::uint64_t kSteps = 50'000'000;
  RecorderOptions options;
  options.checkpoint_every_steps = 5'000'000;
  options.checkpoint_every_ns = 1;
  std::uint64_t spent = 0;  // each look at the clock costs 100 ms: a checkpoint is dear
  const HostClock clock = [&](std::uint64_t steps) { return steps + (spent += 100'000'000); };
  options.checkpoint_budget_percent = 0.001;
  const auto reader = record_counting(kSteps, clock, options);
  const std::vector<std::uint64_t> steps = checkpoint_steps(reader);
  CHECK(steps.size() < 9);
  for (std::size_t n = 1; n < steps.size(); ++n) {
    CHECK(steps[n] - steps[n - 1] <= 10'000'000);
  }
  for (std::uint64_t at = 0; at < kSteps; at += 5'000'000) CHECK(has_digest_at(reader, at));
}

}  // namespace chronovisor
