// Owns one thread that rewrites finished parts of a recording with fewer checkpoints, while
// the recording goes on behind them. A part is replaced when the new one is whole, so a kill
// or a failure changes nothing. Knows no machine. Called from one thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "recorder/format/recording_writer.h"

namespace chronovisor {

class PartThinner {
 public:
  /// @param options how parts are written
  explicit PartThinner(const WriterOptions& options) : options_(options) {}
  ~PartThinner() { stop(); }
  PartThinner(const PartThinner&) = delete;
  PartThinner& operator=(const PartThinner&) = delete;

  /// Leaves every second checkpoint of the part at `path`, the first among them, some time
  /// from now. One that cannot be read or written stays as it is.
  void halve(const std::string& path);
  /// Gives up what is not done.
  void stop();
  /// Waits until all is done.
  void wait();

 private:
  void run();
  void rewrite(const std::string& path);

  WriterOptions options_;
  std::atomic<bool> cancel_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  bool working_ = false;
  std::thread thread_;
};

}  // namespace chronovisor
