// Owns one thread that compresses payloads into chunks while the recorded
// machine runs on, and gives them back in the order they came. Knows no file.
// Called from one thread, the writer's; the thread inside touches nothing but
// the payloads it was given. The thread begins with the first payload.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "base/bytes.h"
#include "recorder/format/chunk.h"

namespace chronovisor {

class BackgroundPacker {
 public:
  BackgroundPacker() = default;
  /// Payloads not yet packed are forgotten.
  ~BackgroundPacker();
  BackgroundPacker(const BackgroundPacker&) = delete;
  BackgroundPacker& operator=(const BackgroundPacker&) = delete;

  /// `level` as of ChunkEncoder::pack. Throws Error{host} when the host has no
  /// thread for it.
  void submit(Bytes payload, int level);
  /// The next chunk in order, if it is ready.
  [[nodiscard]] std::optional<PackedChunk> take_ready();
  /// The next chunk in order; one must be on its way.
  [[nodiscard]] PackedChunk take();
  /// Bytes of payloads submitted and not yet taken.
  [[nodiscard]] std::size_t bytes_in_flight() const { return bytes_in_flight_; }

 private:
  struct Work {
    Bytes payload;
    int level = 0;
  };
  void start();
  void run();
  PackedChunk take_locked();

  std::size_t bytes_in_flight_ = 0;  ///< the caller's thread only
  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable packed_;
  std::deque<Work> waiting_;
  std::deque<PackedChunk> ready_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace chronovisor
