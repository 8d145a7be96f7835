// Maps of recorded checkpoints: right in any order, and no more of them than the budget
// allows.
#include "timetravel/checkpoint_store.h"

#include <doctest/doctest.h>

#include <random>

#include "tests/recorder/large_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

TEST_CASE("the maps of a long recording's checkpoints stay within the budget") {
  LargeRecording kind;
  kind.checkpoints = 700;
  kind.pages = 4096;
  kind.hot_pages = 4;
  kind.other_pages = 12;
  for (const bool chained : {true, false}) {
    CAPTURE(chained);
    kind.chained = chained;
    auto file = std::make_unique<MemoryOutputFile>();
    const auto bytes = file->bytes();
    write_large(std::move(file), FileId{}, kind);
    const RecordingReader reader(std::make_shared<MemoryInputFile>(*bytes));
    constexpr std::uint64_t kBudget = 4 << 20;
    const CheckpointStore store(reader, kind.pages, kBudget);
    std::vector<std::vector<std::uint32_t>> versions;
    PageVersions now(kind);
    for (std::uint32_t n = 0; n < kind.checkpoints; ++n) {
      (void)now.next();
      std::vector<std::uint32_t>& all = versions.emplace_back();
      for (std::uint32_t page = 0; page < kind.pages; ++page) all.push_back(now.of(page));
    }
    std::mt19937_64 random(4);
    for (int round = 0; round < 60; ++round) {
      const std::size_t n = round == 0 ? kind.checkpoints - 1 : random() % kind.checkpoints;
      const PageMap map = store.recorded_map(n);
      for (int i = 0; i < 50; ++i) {
        const std::uint64_t page = random() % kind.pages;
        const Hash128 expected = hash128(LargeRecording::content(page, versions[n][page]));
        REQUIRE(map.content(page) == expected);
      }
      REQUIRE(store.bytes_used() <= kBudget);
    }
  }
}
