#include "recorder/format/recording_cost.h"

#include <algorithm>
#include <map>

#include "recorder/format/chunk_purpose.h"
#include "recorder/format/page_table.h"

namespace chronovisor {
namespace {

template <class Cost>
void largest_first(std::vector<Cost>& costs) {
  std::stable_sort(costs.begin(), costs.end(),
                   [](const Cost& a, const Cost& b) { return a.bytes > b.bytes; });
}

}  // namespace

RecordingCost cost_of(const RecordingReader& reader) {
  RecordingCost cost;
  std::map<std::uint64_t, RangeCost> ranges;
  const IndexTable<ChunkEntry>& chunks = reader.index().chunks;
  std::size_t chunk = 0;
  std::uint64_t known = 0;  // pages with lower places were kept by earlier checkpoints
  for (std::size_t n = 0; n < reader.checkpoints().size(); ++n) {
    CheckpointCost part{n, 0, 0};
    for (; chunk < chunks.size() && chunk <= reader.checkpoints()[n].sequence; ++chunk) {
      const ChunkEntry entry = chunks[chunk];
      if (chunk_purpose(entry.type) == ChunkPurpose::checkpoint) {
        part.bytes += kChunkHeaderSize + entry.stored_length;
      }
    }
    std::map<std::uint64_t, std::uint64_t> contents;  // range, contents new in it
    std::uint64_t next = known;
    for (const PageRecord& page : reader.page_delta(n)) {
      if (page.content == zero_page_hash()) continue;
      const std::uint64_t place = reader.page_place(page.content);
      if (place < known) continue;
      next = std::max(next, place + 1);
      ++contents[page.page / RecordingCost::kRangePages];
      ++part.contents;
    }
    known = next;
    for (const auto& [range, count] : contents) {
      RangeCost& there = ranges[range];
      there.first_page = range * RecordingCost::kRangePages;
      there.contents += count;
      there.bytes += part.bytes * count / part.contents;
    }
    cost.checkpoints.push_back(part);
  }
  for (const auto& [number, range] : ranges) cost.ranges.push_back(range);
  largest_first(cost.ranges);
  largest_first(cost.checkpoints);
  return cost;
}

}  // namespace chronovisor
