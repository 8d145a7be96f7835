// Owns whose turn it is to work on a session, whoever asks for it: a debugger's
// server, the command line, later a web page beside them. Jobs are done one at a time,
// in the order in which they are handed in, on a thread for them; one that is waited
// for anyway, with none before it, on the thread that waits. Knows no session. Any
// thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/cancel.h"

namespace chronovisor::session {

/// What a job will have returned or thrown.
template <typename Result>
class Pending {
 public:
  /// Waits for it. Once.
  Result get() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this] { return state_->done; });
    // Taken out, so that it goes on the thread that asked.
    if (const std::exception_ptr error = std::exchange(state_->error, nullptr)) {
      std::rethrow_exception(error);
    }
    if constexpr (!std::is_void_v<Result>) return std::move(*state_->result);
  }

 private:
  friend class Executor;
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::exception_ptr error;
    std::optional<std::conditional_t<std::is_void_v<Result>, std::monostate, Result>> result;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class Executor {
 public:
  Executor();
  /// Does what was handed in, and ends the thread.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Hands a job in.
  template <typename Job>
  auto submit(Job job) -> Pending<std::invoke_result_t<Job&>> {
    using Result = std::invoke_result_t<Job&>;
    Pending<Result> pending;
    add([state = pending.state_, job = std::move(job)]() mutable {
      std::exception_ptr error;
      std::optional<std::conditional_t<std::is_void_v<Result>, std::monostate, Result>> result;
      try {
        if constexpr (std::is_void_v<Result>) {
          job();
        } else {
          result = job();
        }
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard lock(state->mutex);
      state->error = std::exchange(error, nullptr);
      state->result = std::move(result);
      state->done = true;
      state->changed.notify_all();
    });
    return pending;
  }
  /// submit(), and waits. Must not be called from a job.
  template <typename Job>
  auto run(Job job) {
    {
      const Wanting wanting(*this);
      std::unique_lock<std::mutex> working(work_, std::defer_lock);
      if (none_before(working)) {
        const AtWork here(*this);
        return job();
      }
    }
    return submit(std::move(job)).get();
  }
  /// Called after each job, on its thread, while no other is at work: for who follows what
  /// all of them do. Empty: nobody does. Must not be set from a job.
  void set_follower(std::function<void()> follower) {
    const std::lock_guard lock(work_);
    follower_ = std::move(follower);
  }
  /// What is done when no job was at work for a moment, once after each; handing in a job, or
  /// borrow(), cancels it. Empty: nothing. Must not be set from a job.
  void set_idle_job(std::function<void(CancelToken)> job);
  /// Does something short on the calling thread, with no job at work meanwhile: for
  /// reads that would be lost in the way to another thread and back. From within a
  /// job it is done at once.
  template <typename Look>
  auto borrow(Look&& look) {
    if (std::this_thread::get_id() == at_work_) return std::forward<Look>(look)();
    const Wanting wanting(*this);
    const std::lock_guard lock(work_);
    return std::forward<Look>(look)();
  }

 private:
  /// Somebody waits for work_: an idle job ends, or does not begin.
  struct Wanting {
    explicit Wanting(Executor& its_executor) : executor(its_executor) {
      ++executor.wanting_;
      executor.idle_cancel_ = true;
    }
    ~Wanting() { --executor.wanting_; }
    Wanting(const Wanting&) = delete;
    Wanting& operator=(const Wanting&) = delete;
    Executor& executor;
  };
  /// Under work_: a job is at work on this thread.
  struct AtWork {
    explicit AtWork(Executor& its_executor) : executor(its_executor) {
      executor.at_work_ = std::this_thread::get_id();
    }
    ~AtWork() {
      if (executor.follower_) executor.follower_();
      executor.at_work_ = std::thread::id();
      if (executor.idle_job_) executor.idle_job_is_due();
    }
    AtWork(const AtWork&) = delete;
    AtWork& operator=(const AtWork&) = delete;
    Executor& executor;
  };

  void add(std::function<void()> job);
  void serve();
  void idle_job_is_due();
  void do_idle_job();
  /// @return whether `work` is held now: no job was at work or handed in
  bool none_before(std::unique_lock<std::mutex>& work);

  std::mutex work_;  ///< held while a job is at work
  std::function<void()> follower_;
  std::function<void(CancelToken)> idle_job_;
  std::atomic<std::thread::id> at_work_;
  std::atomic<unsigned> wanting_{0};
  std::atomic<bool> idle_cancel_{false};
  std::mutex queue_;  ///< guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool idle_due_ = false;
  std::uint64_t idle_marks_ = 0;  ///< how often it became due
  bool taken_ = false;            ///< a job has left the queue and is not done
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace chronovisor::session
