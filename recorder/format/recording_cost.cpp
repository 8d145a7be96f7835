#include "recorder/format/recording_cost.h"

#include <algorithm>
#include <map>

#include "recorder/format/chunk_purpose.h"

namespace chronovisor {
namespace {

template <class Cost>
void largest_first(std::vector<Cost>& costs) {
  std::stable_sort(costs.begin(), costs.end(),
                   [](const Cost& a, const Cost& b) { return a.bytes > b.bytes; });
}

}  // namespace

void for_each_kept(const RecordingReader& reader,
                   const std::function<void(const KeptPages&)>& visit) {
  const IndexTable<ChunkEntry>& chunks = reader.index().chunks;
  std::size_t chunk = 0;
  std::uint64_t known = 0;  // pages with lower places were kept by earlier checkpoints
  for (std::size_t n = 0; n < reader.checkpoints().size(); ++n) {
    KeptPages kept{n, 0, {}};
    const std::uint64_t sequence = reader.checkpoints()[n].sequence;
    for (; chunk < chunks.size() && chunk <= sequence; ++chunk) {
      const ChunkEntry entry = chunks[chunk];
      if (chunk_purpose(entry.type) == ChunkPurpose::checkpoint) {
        kept.bytes += kChunkHeaderSize + entry.stored_length;
      }
    }
    std::uint64_t next = known;
    for (const PageRecord& page : reader.page_delta(n)) {
      if (!page.place || *page.place < known) continue;
      next = std::max(next, std::uint64_t{*page.place} + 1);
      kept.pages.push_back(page.page);
    }
    known = next;
    visit(kept);
  }
}

RecordingCost cost_of(const RecordingReader& reader) {
  RecordingCost cost;
  std::map<std::uint64_t, RangeCost> ranges;
  for_each_kept(reader, [&](const KeptPages& kept) {
    std::map<std::uint64_t, std::uint64_t> contents;  // range, contents new in it
    for (const std::uint64_t page : kept.pages) ++contents[page / RecordingCost::kRangePages];
    for (const auto& [range, count] : contents) {
      RangeCost& there = ranges[range];
      there.first_page = range * RecordingCost::kRangePages;
      there.contents += count;
      there.bytes += kept.bytes * count / kept.pages.size();
    }
    cost.checkpoints.push_back({kept.checkpoint, kept.pages.size(), kept.bytes});
  });
  for (const auto& [number, range] : ranges) cost.ranges.push_back(range);
  largest_first(cost.ranges);
  largest_first(cost.checkpoints);
  return cost;
}

}  // namespace chronovisor
