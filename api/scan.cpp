#include "api/scan.h"

#include <algorithm>

#include "api/page.h"
#include "host/host.h"

namespace chronovisor::api {
namespace {

/// A page that has something is given after so long.
constexpr std::uint64_t kPatienceNs = 1'000'000'000;
/// The first search is of so many intervals; each one after it of twice as many, while that
/// takes no longer than this.
constexpr std::size_t kFirstIntervals = 2;
constexpr std::size_t kMostIntervals = 4096;
constexpr std::uint64_t kShortNs = 200'000'000;

/// The end of a stretch of whole intervals that begins at `from`.
Position stretch_end(const RecordingReader& reader, Position from, Position to,
                     std::size_t intervals) {
  const auto& checkpoints = reader.checkpoints();
  const auto first = std::upper_bound(
      checkpoints.begin(), checkpoints.end(), from,
      [](Position wanted, const CheckpointInfo& info) { return wanted < info.position; });
  const auto left = static_cast<std::size_t>(checkpoints.end() - first);
  if (left < intervals) return to;
  return std::min(to, (first + static_cast<std::ptrdiff_t>(intervals - 1))->position);
}

}  // namespace

ScanPage scan(Context& context, QueryKind kind, const ScanRequest& request, const Call& call) {
  const RecordingReader& reader = context.timeline().reader();
  Query query;
  query.kind = kind;
  query.address = request.address;
  query.length = request.length;
  query.physical = request.physical;
  const Position from = context.place(request.from, "from", call);
  const Position to = context.place(request.to, "to", call);
  ScanCursor cursor{from.steps, 0};
  if (!request.cursor.empty()) cursor = ScanCursor::parse(request.cursor);
  if (to < from || cursor.position < from.steps || cursor.position > to.steps) {
    throw CallError(CallFault::wrong_parameters,
                    to < from ? "to: lies before `from`" : "cursor: lies outside the stretch",
                    to < from ? "/params/to" : "/params/cursor");
  }
  const std::uint64_t began = monotonic_ns();
  ScanPage page;
  std::size_t intervals = kFirstIntervals;
  QueryOptions how;
  how.cancel = call.cancel;
  how.count_all = false;
  if (call.found) {
    how.found = [&call](const QueryEntry& entry, std::uint64_t seen_ns) {
      call.found(entry.moment.position.steps, seen_ns);
    };
  }
  Position at{cursor.position};
  std::uint64_t skip = cursor.skip;
  while (at < to) {
    query.from = at;
    query.to = stretch_end(reader, at, to, intervals);
    // One more than is given, to know where the next page begins.
    query.limit = request.limit - page.entries.size() + skip + 1;
    const std::uint64_t search_began = monotonic_ns();
    const QueryAnswer answer = run_query(reader, query, how, [&](std::uint64_t, std::uint64_t) {
      if (call.progress) call.progress(at.steps - from.steps, to.steps - from.steps);
    });
    check_cancelled(call);
    for (const QueryEntry& entry : answer.entries) {
      if (skip > 0 && entry.moment.position == at) {
        --skip;
        continue;
      }
      if (page.entries.size() == request.limit) {
        const auto same = std::count_if(
            page.entries.begin(), page.entries.end(),
            [&](const QueryEntry& e) { return e.moment.position == entry.moment.position; });
        const bool continued = entry.moment.position.steps == cursor.position;
        page.next = ScanCursor{entry.moment.position.steps,
                               static_cast<std::uint64_t>(same) + (continued ? cursor.skip : 0)}
                        .text();
        return page;
      }
      page.entries.push_back(entry);
    }
    skip = 0;
    at = query.to;
    if (monotonic_ns() - search_began < kShortNs) {
      intervals = std::min(intervals * 2, kMostIntervals);
    }
    if (at < to && !page.entries.empty() && monotonic_ns() - began > kPatienceNs) {
      page.next = ScanCursor{at.steps, 0}.text();
      return page;
    }
  }
  return page;
}

}  // namespace chronovisor::api
