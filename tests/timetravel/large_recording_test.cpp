// Questions to a recording of many intervals, nobody of which was run: each finds the one
// interval that holds the answer, and reads little for it.
#include <doctest/doctest.h>

#include "tests/recorder/counting_file.h"
#include "tests/recorder/large_recording.h"
#include "tests/timetravel/large_guest.h"
#include "timetravel/query.h"
#include "timetravel/timeline.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::uint32_t kCheckpoints = 5000;
constexpr std::uint32_t kRare = kCheckpoints / 3;
constexpr std::uint64_t kApart = 1000;

Bytes made() {
  const LargeGuest guest(std::uint64_t{2} << 20, kRare);
  LargeRecording kind;
  kind.checkpoints = kCheckpoints;
  kind.pages = 512;
  kind.hot_pages = 2;
  kind.other_pages = 2;
  kind.returning_pages = 3;
  kind.steps_apart = kApart;
  kind.events = true;
  kind.listed = 4;
  kind.guest = &guest.guest();
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  write_large(std::move(file), FileId{}, kind, guest.metadata());
  return *bytes;
}

}  // namespace

TEST_CASE("one interval among thousands is found by every query, and little is read for it") {
  const Bytes bytes = made();
  const auto file = std::make_shared<CountingFile>(bytes);
  const RecordingReader reader(file);
  REQUIRE(reader.damage().empty());
  const auto ask = [&](Query query, std::uint64_t found) {
    file->bytes_read = 0;
    QueryOptions options;
    options.verify = false;  // nothing was run for its digests
    const QueryAnswer answer =
        run_query(reader, query, options, [](std::uint64_t, std::uint64_t) {});
    CHECK(answer.intervals == kCheckpoints);
    CHECK(answer.searched <= 3);
    CHECK(file->bytes_read < bytes.size() / 10);
    if (query.select != QuerySelect::count) CHECK(answer.entries.size() == found);
    if (query.select == QuerySelect::all) CHECK(answer.count == found);
    if (query.select == QuerySelect::count) CHECK(answer.count == found);
    if (found != 0 && !answer.entries.empty()) {
      CHECK(answer.entries.front().moment.position == Position{kRare * kApart});
    }
    return answer;
  };
  const auto about = [](QueryKind kind, std::uint64_t address, std::uint64_t length,
                        QuerySelect select) {
    Query query;
    query.kind = kind;
    query.address = address;
    query.length = length;
    query.select = select;
    return query;
  };
  for (const QuerySelect select :
       {QuerySelect::all, QuerySelect::first, QuerySelect::last, QuerySelect::count}) {
    ask(about(QueryKind::executes, LargeGuest::kRareCode, 1, select), 1);
    ask(about(QueryKind::writes, LargeGuest::kRareData, 4, select), 1);
    ask(about(QueryKind::writes, LargeGuest::kRareData + 64, 4, select), 0);
  }
  const QueryAnswer value =
      ask(about(QueryKind::value, LargeGuest::kRareData, 4, QuerySelect::all), 1);
  CHECK(value.entries.at(0).before == 0u);
  CHECK(value.entries.at(0).after == 1u);

  // A debugger that stands at the end finds it as well.
  TimelineOptions options;
  options.verify = false;
  Timeline timeline(reader, options);
  timeline.seek({timeline.end(), 0});
  StopSet stops;
  stops.breakpoints.push_back({LargeGuest::kRareCode, {}});
  CHECK(timeline.run_backward(stops, {}).stop == TravelStop::breakpoint);
  CHECK(timeline.now().position == Position{kRare * kApart});
}
