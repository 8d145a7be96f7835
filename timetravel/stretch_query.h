// Owns looking for one query's answers in one stretch of a recording, on one
// traveller, from a place to start from up to a moment. Knows no other
// stretches and no threads. One thread each.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "checkpoint/page_pool.h"
#include "timetravel/checkpoint_store.h"
#include "timetravel/query.h"
#include "timetravel/traveller.h"

namespace chronovisor {

/// The part of one interval that a query asks for.
struct Stretch {
  Base base;      ///< where the interval begins
  Position from;  ///< positions from here on count ...
  Position to;    ///< ... and before here
};

struct StretchAnswer {
  std::uint64_t count = 0;          ///< of QuerySelect::all and ::count
  std::vector<QueryEntry> entries;  ///< ascending; at most query.limit, or one
  bool stopped = false;             ///< it was told to stop; the answer is void
};

class StretchQuery {
 public:
  struct Control {
    const std::atomic<bool>& stop;
    std::function<bool()> wanted;                ///< asked now and then; false: stop
    std::function<void(std::uint64_t)> stepped;  ///< so many steps of the stretch are behind
    /// Entries, as QueryOptions has it.
    const std::function<void(const QueryEntry&, std::uint64_t seen_ns)>& found;
    bool count_all = true;  ///< as QueryOptions has it
    bool verify = true;     ///< the same
  };
  /// All must outlive this.
  StretchQuery(Traveller& traveller, const Query& query, const StopSet& stops,
               const Control& control);
  /// Throws Error{divergence} when the run ends before the stretch does.
  StretchAnswer run(const Stretch& stretch);

 private:
  /// A touch of the watched bytes.
  struct Touch {
    Moment before;
    Moment after;
    std::uint64_t address = 0;
    std::string device{};  ///< empty: no device
    DeviceRequest request{};
    /// The instruction that touched them, where the processor knew it.
    std::optional<Cpu::WatchedBy> by{};
    std::uint64_t seen_ns = 0;  ///< where somebody is told of it
  };
  [[nodiscard]] bool is_full() const;
  [[nodiscard]] bool need_entries() const;
  [[nodiscard]] std::uint64_t now_ns() const;
  [[nodiscard]] bool is_time_to_tell() const;
  [[nodiscard]] bool needs_travel(const Touch& touch) const;
  bool piece(Position to);
  void arrive(Moment target);
  void note_execution();
  void note_touches(Moment before);
  void describe(bool go_on);
  void compare_end() const;
  void add(const QueryEntry& entry, std::uint64_t seen_ns);
  [[noreturn]] void ended_early() const;

  Traveller& traveller_;
  std::optional<Traveller::Armed> armed_;  ///< while stops are watched for
  const Query& query_;
  const StopSet& stops_;
  const Control& control_;
  Position to_;
  PagePool pool_;
  Base anchor_;  ///< from where the touches can be reached again
  std::vector<Touch> touches_;
  std::size_t batch_ = 0;  ///< touches described together
  StretchAnswer answer_;
};

}  // namespace chronovisor
