// Random guests and their recordings, for tests that compare travel and queries
// with a reference that only ever replays from the start.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "recorder/format/start_condition.h"
#include "recorder/live/parted_recorder.h"
#include "recorder/live/replay_input.h"
#include "recorder/live/run_recorder.h"
#include "tests/temporary_folder.h"
#include "tests/vmm/tiny_guest.h"
#include "timetravel/traveller.h"

namespace chronovisor::test {

struct Guest {
  StartCondition start;
  Bytes image;
  std::vector<std::uint64_t> code;
  std::vector<std::uint64_t> data;
  std::vector<std::uint64_t> inputs;
};

inline Guest tiny(std::uint64_t seed, unsigned loops) {
  std::mt19937_64 random(seed);
  const TinyGuest made = random_guest(seed, loops);
  Guest guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 2 << 20;
  guest.image = made.image;
  guest.code.assign(made.code.begin(), made.code.end());
  guest.data.assign(made.data.begin(), made.data.end());
  std::set<std::uint64_t> positions;
  for (int n = 0; n < 10; ++n) positions.insert(1 + random() % 30000);
  guest.inputs.assign(positions.begin(), positions.end());
  return guest;
}

/// One of the guests of tests/guests, as the build made it.
inline std::optional<Guest> built(const std::string& name) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  std::ifstream file(folder / "guests" / name, std::ios::binary);
  if (!file) return std::nullopt;
  Guest guest;
  guest.start.kind = BootKind::multiboot;
  guest.start.kernel_name = name;
  guest.start.machine.memory_bytes = 16 << 20;
  guest.image.assign(std::istreambuf_iterator<char>(file), {});
  guest.inputs = {3000, 9000, 9100};
  return guest;
}

/// The guest's run up to `limit`.
inline std::unique_ptr<RecordingReader> record_to(const Guest& guest, std::uint64_t seed,
                                                  const RecorderOptions& options, Position limit) {
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
  ScriptedInput input(guest.inputs, seed);
  {
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run(limit, [](Position) {});
  }
  writer.finish("{}");
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

/// The guest's run to its end in parts of `steps` steps at least, the checkpoints of old ones
/// thinned.
inline std::unique_ptr<RecordingReader> record_in_parts(const Guest& guest, std::uint64_t seed,
                                                        const RecorderOptions& options,
                                                        std::uint64_t steps,
                                                        const testing::TemporaryFolder& folder) {
  constexpr Position kMost{20'000'000};
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  ScriptedInput input(guest.inputs, seed);
  const std::string path = folder.file("run.cvr");
  std::uint64_t clock = 0;
  PartedRecorder tape(path, guest.start.to_json(), {},
                      {.part_bytes = 1, .least_steps = steps, .most_thinned = 4}, {},
                      [&](RecordingWriter& writer) {
                        writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
                      });
  {
    RunRecorder recorder(
        *machine, tape, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run(kMost, [](Position) {});
  }
  tape.wait_for_thinning();
  tape.finish("{}", {});
  auto reader = std::make_unique<RecordingReader>(path);
  REQUIRE(reader->damage().empty());
  REQUIRE(reader->verify_bytes().empty());
  REQUIRE(reader->usable_to() < kMost);
  return reader;
}

/// The guest's run to its end.
inline std::unique_ptr<RecordingReader> record(const Guest& guest, std::uint64_t seed,
                                               const RecorderOptions& options) {
  constexpr Position kMost{20'000'000};
  auto reader = record_to(guest, seed, options, kMost);
  REQUIRE(reader->usable_to() < kMost);
  return reader;
}

inline std::uint64_t first_seed() {
  const char* given = std::getenv("CHRONOVISOR_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
}
inline int rounds() {
  const char* given = std::getenv("CHRONOVISOR_TEST_ROUNDS");
  return given != nullptr ? std::atoi(given) : 24;
}

/// Random addresses to stop at, from where the guest really is and writes.
inline void find_places(Guest& guest, const RecordingReader& reader) {
  std::mt19937_64 random(7);
  const StartCondition start = start_of(reader);
  ReplayInput input(reader);
  const auto machine = make_machine(start, images_of(reader));
  machine->set_input(&input);
  while (machine->position() < reader.usable_to()) {
    const Position next{machine->position().steps + 1 + random() % 300};
    if (machine->run({std::min(next, reader.usable_to()), 0}) != MachineStop::reached) break;
    guest.code.push_back(machine->cpu().linear_rip());
    guest.data.push_back(machine->cpu().gpr(kRsp) - 8);
    guest.data.push_back(machine->cpu().gpr(kRdi));
    guest.data.push_back(0x100000 + random() % 0x4000);
  }
}

}  // namespace chronovisor::test
