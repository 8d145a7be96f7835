#include "timetravel/interval_filter.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace chronovisor {

IntervalFilter::IntervalFilter(const RecordingReader& reader) : reader_(reader) {
  if (reader.index().interval_runs.empty()) return;
  for (std::size_t n = 0; n < reader.intervals().size(); ++n) {
    // A later one stands in for an earlier one that was damaged.
    intervals_[reader.intervals()[n].from] = n;
  }
}

/// The last of those that begin at `position` or before it and nearest to it.
std::optional<std::size_t> IntervalFilter::interval_at(Position position) const {
  if (!intervals_.empty()) {
    const auto after = intervals_.upper_bound(position);
    if (after == intervals_.begin()) return std::nullopt;
    return std::prev(after)->second;
  }
  const IndexTable<IntervalInfo>& intervals = reader_.intervals();
  const auto after =
      std::partition_point(intervals.begin(), intervals.end(),
                           [&](const IntervalInfo& info) { return info.from <= position; });
  if (after == intervals.begin()) return std::nullopt;
  return static_cast<std::size_t>(after - intervals.begin()) - 1;
}

bool may_stop_in(const IntervalAccesses& accesses, const StopSet& stops) {
  // The index knows linear addresses alone.
  if (!stops.physical_watchpoints.empty()) return true;
  for (const TravelBreakpoint& b : stops.breakpoints) {
    if (accesses.may_execute(b.address)) return true;
  }
  for (const TravelWatchpoint& w : stops.watchpoints) {
    if (accesses.may_access(w.watch.address, w.watch.length, w.watch.on_read, w.watch.on_write)) {
      return true;
    }
  }
  return false;
}

bool IntervalFilter::may_stop_in_interval(std::size_t interval, const StopSet& stops) const {
  try {
    return may_stop_in(IntervalAccesses::decode(reader_.load_interval(interval),
                                                reader_.name() + ": interval index"),
                       stops);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return true;  // damaged: an index is a help, not a need
  }
}

bool IntervalFilter::Question::may_stop(Position from, Position to) {
  if (filter_ == nullptr) return true;
  while (from < to) {
    const std::optional<std::size_t> interval = filter_->interval_at(from);
    if (!interval) return true;
    const IntervalInfo info = filter_->reader_.intervals()[*interval];
    if (info.from > from || info.to <= from) return true;
    const auto known = answers_.find(*interval);
    const bool may =
        known != answers_.end() ? known->second : filter_->may_stop_in_interval(*interval, stops_);
    answers_.emplace(*interval, may);
    if (may) return true;
    from = info.to;
  }
  return false;
}

}  // namespace chronovisor
