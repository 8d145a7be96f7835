#include "timetravel/segment_search.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

namespace chronovisor {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
constexpr std::chrono::milliseconds kCancelLook{5};

}  // namespace

/// What the threads of one search share.
struct SegmentSearch::Task {
  const std::vector<Segment>& segments;
  const StopSet& stops;
  Traveller::Which which;
  CancelToken cancel;

  std::mutex mutex;
  std::condition_variable changed;
  std::size_t next = 0;                        ///< the first segment nobody has taken
  std::size_t decided = kNone;                 ///< the first segment known to have a stop
  std::optional<TravelHit> hit;                ///< its stop
  std::vector<std::size_t> working_on;         ///< by worker; kNone: nothing
  std::vector<std::atomic<bool>> stop_worker;  ///< by worker: its segment does not matter any more
  std::size_t running = 0;
  bool cancelled = false;
  std::uint64_t steps = 0;
  std::vector<char> without_stop;  ///< by segment
  std::exception_ptr failure;

  Task(const std::vector<Segment>& all, const StopSet& stop_set, Traveller::Which wanted,
       CancelToken cancel_token, std::size_t workers)
      : segments(all),
        stops(stop_set),
        which(wanted),
        cancel(cancel_token),
        working_on(workers, kNone),
        stop_worker(workers),
        without_stop(all.size(), 0) {}

  /// Needs the lock.
  void stop_those_after(std::size_t segment) {
    for (std::size_t n = 0; n < working_on.size(); ++n) {
      if (working_on[n] != kNone && working_on[n] > segment) stop_worker[n] = true;
    }
  }
  void stop_all() {
    cancelled = true;
    for (std::atomic<bool>& stop : stop_worker) stop = true;
  }
};

SegmentSearch::SegmentSearch(const CheckpointStore& store, unsigned jobs, std::uint64_t small_steps,
                             std::function<std::unique_ptr<Machine>()> make_machine)
    : store_(store),
      jobs_(std::max(jobs, 1U)),
      small_steps_(small_steps),
      make_machine_(std::move(make_machine)) {}

SegmentSearch::~SegmentSearch() = default;

void SegmentSearch::work(Task& task, Traveller& traveller, std::size_t worker) {
  std::unique_lock lock(task.mutex);
  try {
    while (!task.cancelled && !task.failure &&
           task.next < std::min(task.segments.size(), task.decided)) {
      const std::size_t mine = task.next++;
      task.working_on[worker] = mine;
      task.stop_worker[worker] = false;
      const Segment& segment = task.segments[mine];
      lock.unlock();
      const Traveller::Found found = traveller.search(segment.base, segment.to, task.stops,
                                                      task.which, task.stop_worker[worker]);
      lock.lock();
      task.working_on[worker] = kNone;
      const std::uint64_t at = traveller.machine().position().steps;
      task.steps += at - std::min(at, segment.base.position.steps);
      task.without_stop[mine] = !found.cancelled && !found.hit;
      if (!found.cancelled && found.hit && mine < task.decided) {
        task.decided = mine;
        task.hit = found.hit;
        task.stop_those_after(mine);
      }
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    task.working_on[worker] = kNone;
    if (!task.failure) task.failure = std::current_exception();
    task.stop_all();
  }
  --task.running;
  task.changed.notify_all();
}

SegmentSearch::Outcome SegmentSearch::run(Traveller& own, const std::vector<Segment>& segments,
                                          const StopSet& stops, Traveller::Which which,
                                          CancelToken cancel) {
  Outcome outcome;
  // Short stretches come first and are done here; most searches end there.
  std::size_t done = 0;
  while (done < segments.size()) {
    const Segment& segment = segments[done];
    const bool is_small = segment.to.position.steps - segment.base.position.steps <= small_steps_;
    if (jobs_ > 1 && !is_small) break;
    const Traveller::Found found = own.search(segment.base, segment.to, stops, which, cancel);
    const std::uint64_t at = own.machine().position().steps;
    outcome.steps += at - std::min(at, segment.base.position.steps);
    if (found.cancelled || found.hit) {
      outcome.cancelled = found.cancelled;
      if (!found.cancelled) outcome.hit = found.hit;
      return outcome;
    }
    ++done;
    outcome.without_stop = done;
  }
  if (done == segments.size()) return outcome;

  const std::vector<Segment> rest(segments.begin() + static_cast<std::ptrdiff_t>(done),
                                  segments.end());
  const std::size_t workers = std::min<std::size_t>(jobs_, rest.size());
  while (helpers_.size() + 1 < workers) {
    helpers_.push_back(std::make_unique<Traveller>(make_machine_(), store_));
  }
  Task task(rest, stops, which, cancel, workers);
  task.running = workers;
  std::vector<std::jthread> threads;
  for (std::size_t n = 0; n < workers; ++n) {
    Traveller& traveller = n == 0 ? own : *helpers_[n - 1];
    threads.emplace_back([&task, &traveller, n] { work(task, traveller, n); });
  }
  {
    std::unique_lock lock(task.mutex);
    while (task.running > 0) {
      task.changed.wait_for(lock, kCancelLook);
      if (cancel.requested()) task.stop_all();
    }
  }
  threads.clear();
  if (task.failure) std::rethrow_exception(task.failure);
  outcome.steps += task.steps;
  outcome.cancelled = task.cancelled;
  const auto open = std::find(task.without_stop.begin(), task.without_stop.end(), 0);
  outcome.without_stop += static_cast<std::size_t>(open - task.without_stop.begin());
  if (!task.cancelled) outcome.hit = task.hit;
  return outcome;
}

}  // namespace chronovisor
