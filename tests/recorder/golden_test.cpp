// Recordings made by each format version, kept as files. They must open for
// ever; a new version adds a file and never changes an old one.
#include <doctest/doctest.h>

#include <array>
#include <filesystem>

#include "recorder/format/recording_reader.h"
#include "tests/recorder/filter_sample.h"
#include "tests/recorder/parts_sample.h"
#include "tests/recorder/recipe_sample.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

std::shared_ptr<const InputFile> golden(const char* name) {
  const auto folder = std::filesystem::path(CHRONOVISOR_SOURCE_DIR) / "tests/recorder/golden";
  return std::make_shared<PosixInputFile>((folder / name).string());
}

constexpr std::array<CounterTrust, 3> kTrusts{{{true, false}, {false, true}, {true, true}}};

/// The events of chunk `n`: counted places of every form. The last chunk ends the run.
std::vector<CountedEvent> counted_sample(std::size_t n) {
  constexpr std::uint64_t kFar = std::uint64_t{1} << 40;
  std::vector<CountedEvent> events;
  for (std::uint64_t i = 0; i < 6; ++i) {
    CountedEvent event;
    if (kTrusts[n].branches_exact) event.place.branches = i * 1000;
    if (kTrusts[n].instructions_exact) event.place.instructions = i * i * kFar;
    event.place.rip = 0xffff'ffff'8100'0000 + i;
    event.place.rcx = i;
    event.place.registers = 0x0123'4567'89ab'cdef * (i + 1);
    event.idle_ns = n * 4 * kFar + i / 2 * kFar;
    event.ends_run = n == 2 && i == 5;
    if (!event.ends_run) {
      event.kind = i % 2 == 0 ? InputKind::clock : InputKind::serial_byte;
      event.device = static_cast<std::uint16_t>(i / 5);
      event.payload = i % 2 == 0 ? wakeup_payload(event.idle_ns + 7) : Bytes{'x'};
    }
    events.push_back(event);
  }
  return events;
}

Bytes counted_sample_file() {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), "{}");
  for (std::size_t n = 0; n < kTrusts.size(); ++n) {
    for (const CountedEvent& event : counted_sample(n)) writer.counted(event, kTrusts[n]);
    writer.flush();
  }
  writer.finish(std::nullopt);
  return *bytes;
}

}  // namespace

TEST_CASE("a recording of format version 1 opens and reads as it was made") {
  const chronovisor::testing::Walk walk = walk_recording(golden("version-1.cvr"));
  CHECK(walk.problems.empty());
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes()).facts);
}

TEST_CASE("a killed recording of format version 1 opens up to its last chunk") {
  const chronovisor::testing::Walk walk = walk_recording(golden("version-1-killed.cvr"));
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes(test_id(), false)).facts);
}

TEST_CASE("a recording with an index in blocks reads as it was made") {
  const chronovisor::testing::Walk walk = walk_recording(golden("index-blocks.cvr"));
  CHECK(walk.problems.empty());
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes()).facts);
  const RecordingReader reader(golden("index-blocks.cvr"));
  CHECK(reader.index().chunks.has_blocks());
  CHECK(reader.digest_count() == 1);
}

TEST_CASE("a killed recording with an index in blocks opens by its last mark") {
  const chronovisor::testing::Walk walk = walk_recording(golden("index-blocks-killed.cvr"));
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes(test_id(), false)).facts);
  CHECK(RecordingReader(golden("index-blocks-killed.cvr")).index().chunks.has_blocks());
}

TEST_CASE("pages kept as what they are like read as they were made") {
  const chronovisor::testing::Walk walk = walk_recording(golden("page-recipes.cvr"));
  CHECK(walk.problems.empty());
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(recipe_sample_bytes()).facts);
}

TEST_CASE("a recording with filters over groups of intervals reads as it was made") {
  check_filter_sample(RecordingReader(golden("interval-filters.cvr")));
}

TEST_CASE("a recording in parts reads as it was made") {
  const RecordingReader reader(golden("parts.cvr")->name());
  CHECK(reader.damage().empty());
  CHECK(reader.verify_bytes().empty());
  CHECK(reader.parts().size() == 4);
  const RecordingReader whole(std::make_shared<MemoryInputFile>(in_one_file()));
  CHECK(facts_of(reader) == facts_of(whole));
}

TEST_CASE("a counted log reads as it was made") {
  const auto now = std::make_shared<const Bytes>(counted_sample_file());
  for (const auto& file :
       {golden("counted-log.cvr"),
        std::shared_ptr<const InputFile>(std::make_shared<MemoryInputFile>(*now))}) {
    const RecordingReader reader(file);
    CHECK(reader.verify_bytes().empty());
    CHECK(reader.usable_to() == Position{});
    REQUIRE(reader.counted_chunks() == kTrusts.size());
    for (std::size_t n = 0; n < kTrusts.size(); ++n) {
      const CountedChunk chunk = reader.read_counted(n);
      CHECK(chunk.first == 6 * n);
      CHECK(chunk.trust == kTrusts[n]);
      CHECK(chunk.events == counted_sample(n));
    }
  }
}
