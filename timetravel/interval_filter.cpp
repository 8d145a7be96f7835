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

namespace {

template <class Accesses>
bool any_may_stop(const Accesses& accesses, const StopSet& stops) {
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

}  // namespace

bool may_stop_in(const IntervalAccesses& accesses, const StopSet& stops) {
  return any_may_stop(accesses, stops);
}

bool may_stop_in(const AccessFilter& accesses, const StopSet& stops) {
  return any_may_stop(accesses, stops);
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

/// Whether they can rule out anything.
bool IntervalFilter::Question::asks_filters() const {
  return filter_ != nullptr && stops_.physical_watchpoints.empty();
}

bool IntervalFilter::Question::is_quiet(unsigned level, const IntervalInfo& group) {
  const auto known = quiet_.find(group.sequence);
  if (known != quiet_.end()) return known->second;
  bool quiet = false;
  try {
    quiet = !may_stop_in(filter_->reader_.load_filter(level, group), stops_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;  // damaged: it says nothing
  }
  quiet_.emplace(group.sequence, quiet);
  return quiet;
}

Position IntervalFilter::Question::quiet_from(Position from, Position limit) {
  for (bool goes_on = asks_filters(); goes_on && from < limit;) {
    goes_on = false;
    for (unsigned level = kFilterLevels; level-- > 0 && !goes_on;) {
      const auto group = filter_->reader_.group_from(level, from);
      if (!group || group->to <= group->from || !is_quiet(level, *group)) continue;
      from = group->to;
      goes_on = true;
    }
  }
  return std::min(from, limit);
}

Position IntervalFilter::Question::quiet_up_to(Position to, Position limit) {
  for (bool goes_on = asks_filters(); goes_on && to > limit;) {
    goes_on = false;
    for (unsigned level = kFilterLevels; level-- > 0 && !goes_on;) {
      const auto group = filter_->reader_.group_up_to(level, to);
      if (!group || group->to <= group->from || !is_quiet(level, *group)) continue;
      to = group->from;
      goes_on = true;
    }
  }
  return std::max(to, limit);
}

}  // namespace chronovisor
