#include "timetravel/parallel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace chronovisor {
namespace {

/// How often the waiting thread looks at the cancel flag.
constexpr std::chrono::milliseconds kLook{5};

}  // namespace

unsigned threads_for(unsigned jobs) {
  return jobs != 0 ? jobs : std::max(1U, std::thread::hardware_concurrency());
}

bool run_parallel(std::size_t tasks, unsigned jobs, CancelToken cancel,
                  const std::function<void(std::size_t task, const Worker& worker)>& work,
                  const std::function<void()>& tick) {
  if (cancel.requested()) return false;
  const std::size_t threads = std::min<std::size_t>(std::max(jobs, 1U), tasks);
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> stop{false};
  std::size_t next = 0;
  std::size_t running = threads;
  std::size_t failed_task = tasks;
  std::exception_ptr failure;

  const auto thread = [&](unsigned number) {
    const Worker worker{number, stop};
    std::unique_lock lock(mutex);
    while (!stop && next < tasks) {
      const std::size_t mine = next++;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        work(mine, worker);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      if (thrown && mine < failed_task) {
        failed_task = mine;
        failure = thrown;
      }
      if (thrown) stop = true;
    }
    --running;
    changed.notify_all();
  };

  bool cancelled = false;
  {
    std::vector<std::jthread> all;
    for (std::size_t n = 0; n < threads; ++n) {
      try {
        all.emplace_back(thread, static_cast<unsigned>(n));
      } catch (const std::system_error& error) {
        if (n == 0) throw Error(ErrorCode::host, std::string("no thread: ") + error.what());
        const std::lock_guard fewer(mutex);
        running -= threads - n;
        break;
      }
    }
    std::unique_lock lock(mutex);
    while (running > 0) {
      changed.wait_for(lock, kLook);
      if (cancel.requested()) cancelled = stop = true;
      lock.unlock();
      tick();
      lock.lock();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return !cancelled;
}

}  // namespace chronovisor
