// What a writer remembers of the pages it stored, however long it runs.
#include "recorder/format/page_table.h"

#include <doctest/doctest.h>

#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

Hash128 content(std::uint64_t n) { return hash128(as_bytes(std::to_string(n))); }

}  // namespace

TEST_CASE("a writer remembers a bounded number of pages, those in use among them") {
  PageTable pages(1000);
  CHECK(pages.add(content(0)) == 0);
  std::uint64_t next = 1;
  for (int checkpoint = 0; checkpoint < 100; ++checkpoint) {
    pages.forget();
    REQUIRE(pages.find(content(0)) == 0u);
    pages.use(content(0));
    for (int n = 0; n < 150; ++n, ++next) {
      REQUIRE(pages.add(content(next)) == next);
      REQUIRE(pages.find(content(next)) == next);
    }
    // Nothing is forgotten while a checkpoint is written.
    for (std::uint64_t n = next - 150; n < next; ++n) REQUIRE(pages.find(content(n)) == n);
    REQUIRE(pages.remembered() < 2400);
  }
  CHECK(pages.size() == next);
  CHECK_FALSE(pages.find(content(1)));
}
