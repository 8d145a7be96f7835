#include "session/executor.h"

#include <chrono>
#include <exception>

namespace chronovisor::session {

Executor::Executor() : thread_([this] { serve(); }) {}

Executor::~Executor() {
  {
    const std::lock_guard lock(queue_);
    ending_ = true;
  }
  idle_cancel_ = true;
  changed_.notify_all();
  thread_.join();
}

void Executor::add(std::function<void()> job) {
  {
    const std::lock_guard lock(queue_);
    jobs_.push_back(std::move(job));
  }
  idle_cancel_ = true;
  changed_.notify_all();
}

bool Executor::none_before(std::unique_lock<std::mutex>& work) {
  const std::lock_guard lock(queue_);
  return jobs_.empty() && !taken_ && work.try_lock();
}

void Executor::set_idle_job(std::function<void(CancelToken)> job) {
  {
    const Wanting wanting(*this);
    const std::lock_guard lock(work_);
    idle_job_ = std::move(job);
  }
  idle_job_is_due();
}

void Executor::idle_job_is_due() {
  {
    const std::lock_guard lock(queue_);
    ++idle_marks_;
    if (std::exchange(idle_due_, true)) return;
  }
  changed_.notify_all();
}

void Executor::do_idle_job() {
  const std::lock_guard working(work_);
  // Whoever wants it from here on cancels after this; who did before is counted.
  idle_cancel_ = false;
  bool wanted = wanting_ != 0;
  {
    const std::lock_guard lock(queue_);
    wanted = wanted || !jobs_.empty() || ending_;
  }
  if (!wanted && idle_job_) {
    try {
      idle_job_(idle_cancel_);
    } catch (const std::exception&) {
      // Nobody has asked for it; who asks for the same is told.
    }
  }
  if (idle_job_ && (wanted || idle_cancel_)) {
    const std::lock_guard lock(queue_);
    idle_due_ = true;
  }
}

void Executor::serve() {
  constexpr auto kMoment = std::chrono::milliseconds(50);
  const auto is_wanted = [this] { return ending_ || !jobs_.empty(); };
  std::unique_lock lock(queue_);
  while (true) {
    changed_.wait(lock, [&] { return is_wanted() || idle_due_; });
    if (!is_wanted()) {
      const std::uint64_t marks = idle_marks_;
      if (changed_.wait_for(lock, kMoment, is_wanted) || idle_marks_ != marks) continue;
      idle_due_ = false;
      lock.unlock();
      do_idle_job();
      lock.lock();
      continue;
    }
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    taken_ = true;
    lock.unlock();
    {
      const std::lock_guard working(work_);
      const AtWork here(*this);
      job();
      job = nullptr;  // what it holds goes here, too
    }
    lock.lock();
    taken_ = false;
  }
}

}  // namespace chronovisor::session
