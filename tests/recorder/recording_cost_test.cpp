#include "recorder/format/recording_cost.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/recorder/recipe_sample.h"

using namespace chronovisor;
using namespace chronovisor::testing;

TEST_CASE("what made a recording large is told by checkpoint and by range of memory") {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), "{}");
  write_pages(writer, 0, {}, {{1, test_page(1)}, {2, test_page(0)}});
  PageContents many;
  for (std::uint64_t n = 0; n < 50; ++n) many[5000 + n] = test_page(100 + n);
  many[5050] = test_page(1);  // kept already
  write_pages(writer, 1000, 0, many);
  // What did not become new is not counted again.
  many[5000] = test_page(99);
  write_pages(writer, 2000, 0, many);
  writer.finish(std::nullopt);
  const RecordingReader reader(std::make_shared<MemoryInputFile>(*bytes));
  const RecordingCost cost = cost_of(reader);

  REQUIRE(cost.ranges.size() == 2);
  CHECK(cost.ranges[0].first_page == 4096);
  CHECK(cost.ranges[0].contents == 51);
  CHECK(cost.ranges[1].first_page == 0);
  CHECK(cost.ranges[1].contents == 1);
  REQUIRE(cost.checkpoints.size() == 3);
  CHECK(cost.checkpoints[0].checkpoint == 1);
  CHECK(cost.checkpoints[0].contents == 50);
  std::uint64_t total = 0;
  for (const CheckpointCost& part : cost.checkpoints) total += part.bytes;
  CHECK(total > 0);
  CHECK(total < bytes->size());
  CHECK(cost.ranges[0].bytes + cost.ranges[1].bytes <= total);
}
