// Makes a recording with filters over groups of its intervals, of which the second alone
// executes something, and says whether a recording is that one.
#pragma once

#include <doctest/doctest.h>

#include <memory>

#include "recorder/format/access_filter.h"
#include "tests/recorder/sample_recording.h"

namespace chronovisor::testing {

inline Bytes filter_sample_bytes(bool finish) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), "{}", tiny_blocks());
  IntervalAccesses accesses;
  accesses.code.push_back({0x1000, 0x1010});
  for (std::uint64_t n = 0; n < 3 * kFilterGroup; ++n) {
    writer.advance_to(Position{n + 1});
    writer.interval_index(Position{n}, Position{n + 1},
                          n == kFilterGroup ? accesses.encode() : IntervalAccesses{}.encode());
  }
  if (finish) {
    writer.finish(std::nullopt);
  } else {
    writer.flush();
  }
  return *bytes;
}

inline void check_filter_sample(const RecordingReader& reader) {
  for (std::uint64_t n = 0; n < 3; ++n) {
    const auto group = reader.group_from(0, Position{n * kFilterGroup});
    REQUIRE(group);
    CHECK(group->to == Position{(n + 1) * kFilterGroup});
    CHECK(reader.group_up_to(0, group->to)->from == group->from);
    CHECK(reader.load_filter(0, *group).may_execute(0x1008) == (n == 1));
  }
}

}  // namespace chronovisor::testing
