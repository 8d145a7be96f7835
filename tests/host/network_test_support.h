// What the tests of network backends share: a guest's side, and frames.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/network/backend.h"
#include "tests/temporary_folder.h"

namespace chronovisor {

inline Bytes frame_of(std::size_t size, std::uint8_t first) {
  Bytes frame(size);
  for (std::size_t n = 0; n < size; ++n) frame[n] = static_cast<std::uint8_t>(first + n * 3);
  return frame;
}

template <class Condition>
bool becomes_true(Condition condition) {
  for (int n = 0; n < 2000; ++n) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// The guest's side of a backend.
class Guest {
 public:
  NetworkSink sink() {
    return {[this](const Bytes& frame) {
              const std::lock_guard lock(mutex_);
              if (full_) {
                ++refused_;
                return false;
              }
              frames_.push_back(frame);
              return true;
            },
            [this] { closed_ = true; }};
  }
  [[nodiscard]] std::vector<Bytes> frames() {
    const std::lock_guard lock(mutex_);
    return frames_;
  }
  void set_full(bool full) {
    const std::lock_guard lock(mutex_);
    full_ = full;
  }
  [[nodiscard]] bool was_refused() {
    const std::lock_guard lock(mutex_);
    return refused_ > 0;
  }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  std::mutex mutex_;
  std::vector<Bytes> frames_;
  bool full_ = false;
  int refused_ = 0;
  std::atomic<bool> closed_{false};
};

}  // namespace chronovisor
