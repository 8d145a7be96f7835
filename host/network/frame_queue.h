// Owns a bounded queue of frames from one thread to another that polls: what the guest
// sends on its way to a backend. What finds no room is dropped and counted, as on a
// link; the sender never waits. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

class FrameQueue {
 public:
  static constexpr std::size_t kMostBytes = 4 << 20;

  /// Throws Error{host} when the host gives no eventfd.
  FrameQueue();
  ~FrameQueue();
  FrameQueue(const FrameQueue&) = delete;
  FrameQueue& operator=(const FrameQueue&) = delete;

  void push(ByteView frame);
  /// All that waits, in order.
  [[nodiscard]] std::vector<Bytes> take_all();
  /// Readable when there is something to take, or wake() was called.
  [[nodiscard]] int wait_fd() const { return event_; }
  void wake() const;
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  int event_ = -1;
  std::mutex mutex_;
  std::vector<Bytes> waiting_;
  std::size_t bytes_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace chronovisor
