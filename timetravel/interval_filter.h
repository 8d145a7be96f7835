// Owns the question whether a stretch of a recording can hold a stop at all,
// answered from the recording's interval index. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "recorder/format/interval_index.h"
#include "recorder/format/recording_reader.h"
#include "timetravel/stop_set.h"

namespace chronovisor {

class IntervalFilter {
 public:
  /// The reader must outlive this.
  explicit IntervalFilter(const RecordingReader& reader);

  /// The question for one set of stops; each interval is looked at once.
  class Question {
   public:
    /// Both must outlive this; `filter` may be null, which knows nothing.
    Question(const IntervalFilter* filter, const StopSet& stops) : filter_(filter), stops_(stops) {}
    /// Whether something between arrival at `from` and arrival at `to` may stop
    /// the run, conditions aside. True where nothing is known.
    [[nodiscard]] bool may_stop(Position from, Position to);
    /// As far from `from` on as filters over groups of intervals say that nothing stops, and
    /// no further than `limit`; `from` itself where they say nothing.
    [[nodiscard]] Position quiet_from(Position from, Position limit);
    /// The same back from `to`.
    [[nodiscard]] Position quiet_up_to(Position to, Position limit);

   private:
    [[nodiscard]] bool asks_filters() const;
    [[nodiscard]] bool is_quiet(unsigned level, const IntervalInfo& group);

    const IntervalFilter* filter_;
    const StopSet& stops_;
    std::map<std::size_t, bool> answers_;
    std::map<std::uint64_t, bool> quiet_;  ///< by the chunk of the filter
  };

 private:
  [[nodiscard]] bool may_stop_in_interval(std::size_t interval, const StopSet& stops) const;
  [[nodiscard]] std::optional<std::size_t> interval_at(Position position) const;

  const RecordingReader& reader_;
  /// By where they begin; filled only where the recording has them in another order than
  /// that, since some were made later.
  std::map<Position, std::size_t> intervals_;
};

/// Whether accesses gathered in an interval, or in a group of them, may include a stop.
[[nodiscard]] bool may_stop_in(const IntervalAccesses& accesses, const StopSet& stops);
[[nodiscard]] bool may_stop_in(const AccessFilter& accesses, const StopSet& stops);

}  // namespace chronovisor
