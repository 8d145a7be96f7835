#include "session/executor.h"

namespace chronovisor::session {

Executor::Executor() : thread_([this] { serve(); }) {}

Executor::~Executor() {
  {
    const std::lock_guard lock(queue_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Executor::add(std::function<void()> job) {
  {
    const std::lock_guard lock(queue_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

bool Executor::none_before(std::unique_lock<std::mutex>& work) {
  const std::lock_guard lock(queue_);
  return jobs_.empty() && !taken_ && work.try_lock();
}

void Executor::serve() {
  std::unique_lock lock(queue_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
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
