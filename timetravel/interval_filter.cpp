#include "timetravel/interval_filter.h"

#include "base/error.h"

namespace chronovisor {

IntervalFilter::IntervalFilter(const RecordingReader& reader) : reader_(reader) {
  for (std::size_t n = 0; n < reader.intervals().size(); ++n) {
    // A later one stands in for an earlier one that was damaged.
    intervals_[reader.intervals()[n].from] = n;
  }
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
  auto interval = filter_->intervals_.upper_bound(from);
  if (interval == filter_->intervals_.begin()) return true;
  --interval;
  for (; from < to; ++interval) {
    if (interval == filter_->intervals_.end()) return true;
    const IntervalInfo& info = filter_->reader_.intervals()[interval->second];
    if (info.from > from || info.to <= from) return true;
    const auto known = answers_.find(interval->second);
    const bool may = known != answers_.end()
                         ? known->second
                         : filter_->may_stop_in_interval(interval->second, stops_);
    answers_.emplace(interval->second, may);
    if (may) return true;
    from = info.to;
  }
  return false;
}

}  // namespace chronovisor
