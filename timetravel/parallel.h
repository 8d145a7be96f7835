// Owns dealing out numbered tasks to threads. Knows nothing of what they do.
// Called from one thread, which waits; the tasks run on others.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "base/cancel.h"
namespace chronovisor {

/// One of the threads, as a task sees it.
struct Worker {
  unsigned number = 0;            ///< from 0; tasks of one number never overlap
  const std::atomic<bool>& stop;  ///< the task is to return soon
};

/// Calls `work` for tasks 0, 1, 2 ... `tasks` - 1, begun in this order, on at
/// most `jobs` threads (at least one). `tick` is called on the calling thread
/// some hundred times a second meanwhile. When `cancel` (may be null) becomes
/// true or a task throws, no further task begins and those that run are told to
/// stop; the error of the lowest task that threw is thrown here once all have
/// ended. Where the host gives fewer threads, those do it all; Error{host} when it gives none.
/// @return false when cancelled
bool run_parallel(std::size_t tasks, unsigned jobs, CancelToken cancel,
                  const std::function<void(std::size_t task, const Worker& worker)>& work,
                  const std::function<void()>& tick);

/// `jobs` as users give it: 0 is one a core.
[[nodiscard]] unsigned threads_for(unsigned jobs);

}  // namespace chronovisor
