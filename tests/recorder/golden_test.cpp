// Recordings made by each format version, kept as files. They must open for
// ever; a new version adds a file and never changes an old one.
#include <doctest/doctest.h>

#include <filesystem>

#include "recorder/recording_reader.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

std::shared_ptr<const InputFile> golden(const char* name) {
  const auto folder = std::filesystem::path(CHRONOVISOR_SOURCE_DIR) / "tests/recorder/golden";
  return std::make_shared<PosixInputFile>((folder / name).string());
}

}  // namespace

TEST_CASE("a recording of format version 1 opens and reads as it was made") {
  const Walk walk = walk_recording(golden("version-1.cvr"));
  CHECK(walk.problems.empty());
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes()).facts);
}

TEST_CASE("a killed recording of format version 1 opens up to its last chunk") {
  const Walk walk = walk_recording(golden("version-1-killed.cvr"));
  CHECK(walk.usable_to == 60);
  CHECK(walk.facts == walk_bytes(sample_bytes(test_id(), false)).facts);
}
