#include "timetravel/query.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "recorder/format/start_condition.h"
#include "timetravel/interval_filter.h"
#include "timetravel/interval_starts.h"
#include "timetravel/parallel.h"
#include "timetravel/replay.h"
#include "timetravel/stretch_query.h"

namespace chronovisor {
namespace {

void require_sense(const Query& query, const QueryOptions& options) {
  const auto refuse = [](const char* why) { throw Error(ErrorCode::usage, why); };
  const std::uint64_t most =
      query.kind == QueryKind::executes ? kMostExecutedBytes : kMostWatchedBytes;
  if (query.kind == QueryKind::value) {
    if (query.length != 1 && query.length != 2 && query.length != 4 && query.length != 8) {
      refuse("a value has a length of 1, 2, 4 or 8 bytes");
    }
  } else if (query.length == 0 || query.length > most) {
    refuse(query.kind == QueryKind::executes ? "between 1 byte and 4 KiB of code can be asked for"
                                             : "between 1 byte and 1 MiB can be asked for");
  }
  if (query.physical && query.kind != QueryKind::writes) {
    refuse("only writes can be asked for by physical address");
  }
  if (query.address + (query.length - 1) < query.address) {
    refuse("the range goes past the last address");
  }
  if (query.from > query.to) refuse("the range of positions ends before it begins");
  if (query.limit == 0 || query.limit > kMostQueryEntries) {
    refuse("between 1 and 10,000,000 entries can be listed");
  }
  if (options.shard.number == 0 || options.shard.number > options.shard.of) {
    refuse("shards are numbered from 1 to their number");
  }
}

StopSet stops_of(const Query& query) {
  StopSet stops;
  if (query.kind == QueryKind::executes) {
    for (std::uint64_t n = 0; n < query.length; ++n) {
      stops.breakpoints.push_back({query.address + n, {}});
    }
  } else if (query.physical) {
    stops.physical_watchpoints.push_back({{{query.address}, query.length}, {}});
  } else {
    stops.watchpoints.push_back({Watchpoint{query.address, query.length, false, true}, {}});
  }
  return stops;
}

/// One run of a query: what its threads share.
class QueryRun {
 public:
  QueryRun(const RecordingReader& reader, const Query& query, const QueryOptions& options)
      : reader_(reader),
        query_(query),
        options_(options),
        stops_(stops_of(query)),
        condition_(runnable_start_of(reader)),
        first_machine_(std::make_unique<Machine>(condition_.machine)),
        store_(reader, first_machine_->pages().page_count(), 0) {
    plan();
  }

  QueryAnswer run(const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    const unsigned jobs = threads_for(options_.jobs);
    travellers_.resize(std::max(jobs, 1U));
    const bool finished = run_parallel(
        stretches_.size(), jobs, options_.cancel,
        [this](std::size_t task, const Worker& worker) { search(task, worker); },
        [&] { progress(done_.load(), total_); });
    answer_.cancelled = !finished;
    answer_.steps = done_.load();
    collect();
    return std::move(answer_);
  }

 private:
  /// The stretches in the order in which they are searched.
  void plan() {
    IntervalFilter filter(reader_);
    IntervalFilter::Question question(options_.use_index ? &filter : nullptr, stops_);
    const IntervalStarts starts(reader_);
    answer_.query = query_;
    answer_.intervals = starts.size();
    std::size_t n = query_.from < query_.to ? starts.up_to(query_.from) : starts.size();
    while (n < starts.size() && starts[n] < query_.to) {
      const Position begin = starts[n];
      const Position quiet = question.quiet_from(begin, query_.to);
      if (quiet >= query_.to) break;
      if (const std::size_t next = starts.up_to(quiet); next > n) {
        n = next;
        continue;
      }
      const Position end = starts.end_of(n);
      const Position from = std::max(begin, query_.from);
      const Position to = std::min(end, query_.to);
      if (options_.shard.takes(n) && from < to && question.may_stop(begin, end)) {
        stretches_.push_back({base_at(begin), from, to});
        total_ += to.steps - from.steps;
      }
      ++n;
    }
    if (query_.select == QuerySelect::last) std::reverse(stretches_.begin(), stretches_.end());
    answers_.resize(stretches_.size());
    answer_.searched = stretches_.size();
  }

  Base base_at(Position position) {
    const auto recorded = reader_.checkpoint_before(position);
    if (recorded && reader_.checkpoints()[*recorded].position == position) {
      return {position, recorded, nullptr};
    }
    // Only where the guest is booted there may be no checkpoint.
    if (position.steps != 0) {
      throw Error(ErrorCode::bad_input, reader_.name() + ": the recording starts at position " +
                                            grouped(position.steps) +
                                            ", but has no checkpoint there");
    }
    Traveller booted(make_machine(condition_, images_of(reader_)), store_);
    return {position, std::nullopt,
            std::make_shared<const Snapshot>(booted.take_snapshot(store_.pool()))};
  }

  Traveller& traveller(unsigned worker) {
    std::unique_ptr<Traveller>& mine = travellers_[worker];
    if (mine == nullptr) {
      auto machine =
          worker == 0 ? std::move(first_machine_) : std::make_unique<Machine>(condition_.machine);
      mine = std::make_unique<Traveller>(std::move(machine), store_);
    }
    return *mine;
  }

  void search(std::size_t task, const Worker& worker) {
    const auto wanted = [&] { return task <= decided_.load(std::memory_order_relaxed); };
    if (!wanted()) return;
    const StretchQuery::Control control{worker.stop,
                                        wanted,
                                        [this](std::uint64_t steps) { done_ += steps; },
                                        options_.found,
                                        options_.count_all,
                                        options_.verify};
    StretchAnswer answer =
        StretchQuery(traveller(worker.number), query_, stops_, control).run(stretches_[task]);
    if (answer.stopped) return;
    const std::lock_guard lock(mutex_);
    count_ +=
        query_.select == QuerySelect::all || query_.select == QuerySelect::count ? answer.count : 0;
    const bool decides = query_.select == QuerySelect::first || query_.select == QuerySelect::last;
    const bool fills = !options_.count_all && answer.entries.size() >= query_.limit;
    if (fills || (decides && !answer.entries.empty())) {
      std::size_t least = decided_.load();
      if (task < least) decided_ = task;
    }
    held_ += answer.entries.size();
    answers_[task] = std::move(answer.entries);
    if (!decides) drop_surplus();
  }

  /// What is certainly beyond the limit need not be kept. Needs the lock.
  void drop_surplus() {
    for (std::size_t n = answers_.size(); n-- > 0 && held_ > query_.limit;) {
      const std::uint64_t surplus =
          std::min<std::uint64_t>(held_ - query_.limit, answers_[n].size());
      answers_[n].resize(answers_[n].size() - surplus);
      answers_[n].shrink_to_fit();
      held_ -= surplus;
    }
  }

  void collect() {
    answer_.count = count_;
    for (std::vector<QueryEntry>& entries : answers_) {
      const bool one = query_.select == QuerySelect::first || query_.select == QuerySelect::last;
      if (one && !answer_.entries.empty()) break;
      answer_.entries.insert(answer_.entries.end(), entries.begin(), entries.end());
    }
  }

  const RecordingReader& reader_;
  const Query query_;
  const QueryOptions options_;
  const StopSet stops_;
  const StartCondition condition_;
  std::unique_ptr<Machine> first_machine_;  ///< refuses impossible shapes; then of worker 0
  CheckpointStore store_;
  std::vector<Stretch> stretches_;
  std::uint64_t total_ = 0;
  QueryAnswer answer_;

  std::vector<std::unique_ptr<Traveller>> travellers_;  ///< by worker
  std::atomic<std::uint64_t> done_{0};
  /// first and last: the first stretch in order that is known to hold an answer.
  std::atomic<std::size_t> decided_{~std::size_t{0}};
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::uint64_t held_ = 0;
  std::vector<std::vector<QueryEntry>> answers_;  ///< by stretch
};

}  // namespace

std::size_t query_intervals(const RecordingReader& reader) { return IntervalStarts(reader).size(); }

QueryAnswer run_query(
    const RecordingReader& reader, const Query& query, const QueryOptions& options,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) {
  require_sense(query, options);
  Query cut = query;
  cut.from = std::clamp(query.from, reader.start(), reader.usable_to());
  cut.to = std::clamp(query.to, reader.start(), reader.usable_to());
  return QueryRun(reader, cut, options).run(progress);
}

QueryAnswer merge_answers(std::vector<QueryAnswer> parts) {
  CHECK_THAT(!parts.empty(), "an answer to merge");
  QueryAnswer whole;
  whole.query = parts.front().query;
  whole.intervals = parts.front().intervals;
  for (QueryAnswer& part : parts) {
    whole.count += part.count;
    whole.searched += part.searched;
    whole.steps += part.steps;
    whole.cancelled = whole.cancelled || part.cancelled;
    whole.entries.insert(whole.entries.end(), part.entries.begin(), part.entries.end());
  }
  // A moment lies in one interval, so in one part, where entries are in order.
  std::stable_sort(whole.entries.begin(), whole.entries.end(),
                   [](const QueryEntry& a, const QueryEntry& b) { return a.moment < b.moment; });
  std::vector<QueryEntry>& entries = whole.entries;
  const bool one =
      whole.query.select == QuerySelect::first || whole.query.select == QuerySelect::last;
  const std::uint64_t most = one ? 1 : whole.query.limit;
  if (entries.size() > most) {
    if (whole.query.select == QuerySelect::last) {
      entries.erase(entries.begin(), entries.end() - 1);
    } else {
      entries.resize(most);
    }
  }
  return whole;
}

}  // namespace chronovisor
