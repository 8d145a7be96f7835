// Owns the question whether a stretch of a recording can hold a stop at all,
// answered from the recording's interval index, or from what was built in
// memory where that is missing. One thread.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "recorder/interval_index.h"
#include "recorder/recording_reader.h"
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

   private:
    const IntervalFilter* filter_;
    const StopSet& stops_;
    std::map<std::size_t, bool> answers_;
  };

 private:
  [[nodiscard]] bool may_stop_in_interval(std::size_t interval, const StopSet& stops) const;

  const RecordingReader& reader_;
  std::map<Position, std::size_t> intervals_;  ///< by where they begin
};

/// Whether accesses gathered in an interval may include a stop.
[[nodiscard]] bool may_stop_in(const IntervalAccesses& accesses, const StopSet& stops);

/// Gathers the index of the interval from recorded checkpoint `checkpoint` to
/// the next, or to the end of the recording, by running it.
struct BuiltInterval {
  Position from;
  Position to;
  IntervalAccesses accesses;
};
class Traveller;
class CheckpointStore;
[[nodiscard]] BuiltInterval build_interval(Traveller& traveller, const CheckpointStore& store,
                                           std::size_t checkpoint);

}  // namespace chronovisor
