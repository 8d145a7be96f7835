#include "api/calls.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "api/desks.h"
#include "host/host.h"

namespace chronovisor::api {
namespace {

/// Progress is told no more often.
constexpr std::uint64_t kProgressNs = 250'000'000;
/// What was found waits no longer, ...
constexpr std::uint64_t kFoundNs = 100'000'000;
/// ... and no more of it is told before the answer.
constexpr std::size_t kMostFound = 10'000;

/// What `work` gives or throws, as an outcome.
template <typename Work>
Calls::Outcome outcome_of(const Call& call, Work work) {
  try {
    check_cancelled(call);
    return work();
  } catch (const Error& error) {
    return call_error(error);
  } catch (const std::bad_alloc&) {
    return CallError(CallFault::host, "the host is out of memory");
  } catch (const std::exception& error) {
    return CallError(CallFault::internal, error.what());
  }
}

}  // namespace

/// One call from when it came until it is answered.
class Calls::Work {
 public:
  Work(std::shared_ptr<State> state, std::string id, const Method& its_method, Value parameters,
       Progress progress, Done done)
      : method(its_method),
        state_(std::move(state)),
        id_(std::move(id)),
        parameters_(std::move(parameters)),
        progress_(std::move(progress)),
        done_(std::move(done)) {}

  const Method& method;

  [[nodiscard]] Call call() {
    Call made{cancel_, {}};
    if (!progress_) return made;
    made.found = [this](std::uint64_t position, std::uint64_t seen_ns) {
      const std::lock_guard lock(found_mutex_);
      if (found_count_ == kMostFound) return;
      ++found_count_;
      seen_ns_ = found_.empty() ? seen_ns : std::min(seen_ns_, seen_ns);
      found_.push_back(position);
    };
    made.progress = [this, told_ns = monotonic_ns()](std::uint64_t done,
                                                     std::uint64_t total) mutable {
      const std::uint64_t now = monotonic_ns();
      if (now - told_ns < kFoundNs || stage_ == Stage::answered) return;
      Told told{done, total};
      {
        const std::lock_guard lock(found_mutex_);
        if (found_.empty() && now - told_ns < kProgressNs) return;
        told.found = std::exchange(found_, {});
        told.seen_ns = seen_ns_;
      }
      told_ns = now;
      progress_(told);
    };
    return made;
  }
  [[nodiscard]] Value run(Context& context, const Call& call) const {
    if (method.effect == Effect::changes && !context.allow_changes()) {
      throw CallError(CallFault::read_only,
                      method.name + " changes something; it was started without --allow-changes");
    }
    return method.run(context, parameters_, call);
  }
  /// @return whether it is to be done: it was not cancelled before
  bool begin();
  /// From here on it is done beside the session, where nobody sees it, or by the session.
  void stand_beside() { beside_ = true; }
  void stand_within() { beside_ = false; }
  /// Answers, unless that was done.
  void finish(const Outcome& outcome);
  /// Asks whoever is at work to stop. Where nobody is, or nobody sees it, it is answered at
  /// once.
  void cancel();

 private:
  enum class Stage : std::uint8_t { waits, at_work, answered };
  /// @return whether it is this thread's to answer
  bool claim(Stage from) { return stage_.compare_exchange_strong(from, Stage::answered); }
  void answer(const Outcome& outcome);

  std::shared_ptr<State> state_;
  std::string id_;
  Value parameters_;
  Progress progress_;
  Done done_;
  std::atomic<bool> cancel_{false};
  std::atomic<bool> beside_{false};
  std::atomic<Stage> stage_{Stage::waits};
  std::mutex found_mutex_;  ///< guards what follows
  std::vector<std::uint64_t> found_;
  std::uint64_t seen_ns_ = 0;
  std::size_t found_count_ = 0;
};

struct Calls::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::shared_ptr<Work>> works;
  std::size_t answering = 0;  ///< calls that are being answered
};

bool Calls::Work::begin() {
  Stage expected = Stage::waits;
  return stage_.compare_exchange_strong(expected, Stage::at_work);
}

void Calls::Work::finish(const Outcome& outcome) {
  if (claim(Stage::at_work)) answer(outcome);
}

void Calls::Work::answer(const Outcome& outcome) {
  // Who has the answer may use its id again.
  std::unique_lock lock(state_->mutex);
  const auto own = state_->works.extract(id_);
  ++state_->answering;
  lock.unlock();
  done_(outcome);
  lock.lock();
  --state_->answering;
  state_->changed.notify_all();
}

void Calls::Work::cancel() {
  cancel_ = true;
  if (claim(Stage::waits) || (beside_ && claim(Stage::at_work))) {
    answer(CallError(CallFault::cancelled, "cancelled"));
  }
}

Calls::Calls(Context& context, session::Executor& executor, const Caller& caller)
    : context_(context), executor_(executor), caller_(caller), state_(std::make_shared<State>()) {}

Calls::~Calls() {
  cancel_all();
  wait();
}

void Calls::start(const std::string& id, const Method& method, Value parameters, Progress progress,
                  Done done) {
  const auto work = std::make_shared<Work>(state_, id, method, std::move(parameters),
                                           std::move(progress), std::move(done));
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->works.size() >= kMostWaitingCalls) {
      throw CallError(CallFault::busy, std::to_string(kMostWaitingCalls) +
                                           " calls are waiting already; wait for an answer");
    }
    if (!state_->works.emplace(id, work).second) {
      throw CallError(CallFault::no_request, "a call with this id is waiting already", "/id");
    }
  }
  Desks* const desks = context_.desks();
  if (desks != nullptr && method.desk == Desk::strip) {
    work->stand_beside();
    desks->submit_strip([work](const Desks::Visit& visit) {
      if (!work->begin()) return;
      const Call call = work->call();
      work->finish(outcome_of(call, [&] { return work->run(visit(), call); }));
    });
    return;
  }
  const bool beside = desks != nullptr && method.desk == Desk::search;
  executor_.submit(
      [this_caller = caller_, &context = context_, &executor = executor_, work, beside] {
        if (beside && !context.timeline().on_branch()) {
          return search(context, executor, this_caller, work);
        }
        if (!work->begin()) return;
        const Call call = work->call();
        const Outcome outcome = outcome_of(call, [&] { return work->run(context, call); });
        context.call_done(this_caller);
        work->finish(outcome);
      });
}

/// On the session's thread: a question that is answered beside it, from where it stands now.
/// Where that has led elsewhere, the session goes there.
void Calls::search(Context& context, session::Executor& executor, const Caller& caller,
                   const std::shared_ptr<Work>& work) {
  const Standing standing = context.standing();
  work->stand_beside();
  context.desks()->submit_search(standing, [&context, &executor, caller, work,
                                            from = standing.moment](const Desks::Visit& visit) {
    if (!work->begin()) return;
    const Call call = work->call();
    Moment there = from;
    const Outcome outcome = outcome_of(call, [&] {
      Context& desk = visit();
      if (desk.timeline().seek(from, call.cancel) == TravelStop::interrupted) check_cancelled(call);
      Value answer = work->run(desk, call);
      there = desk.timeline().now();
      return answer;
    });
    if (there == from || std::holds_alternative<CallError>(outcome)) return work->finish(outcome);
    executor.submit([&context, caller, work, call, outcome, there] {
      work->stand_within();  // either this sees that it was cancelled, or that sees this
      const Outcome arrived = outcome_of(call, [&] {
        context.go_to(there, call);
        return std::get<Value>(outcome);
      });
      context.call_done(caller);
      work->finish(arrived);
    });
  });
}

void Calls::cancel(const std::string& id) {
  std::shared_ptr<Work> work;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->works.find(id);
    if (found == state_->works.end()) return;
    work = found->second;
  }
  work->cancel();
}

void Calls::cancel_all() {
  std::vector<std::shared_ptr<Work>> all;
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& [id, work] : state_->works) all.push_back(work);
  }
  for (const auto& work : all) work->cancel();
}

void Calls::wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->works.empty() && state_->answering == 0; });
}

bool Calls::idle() const {
  const std::lock_guard lock(state_->mutex);
  return state_->works.empty() && state_->answering == 0;
}

}  // namespace chronovisor::api
