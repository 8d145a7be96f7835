// Owns the watching of a run by its control socket: asks again and again how it stands, on a
// thread of its own, so that whoever wants to know never waits for it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace chronovisor::replica {

class StatusWatch {
 public:
  /// What is known now. One of the two is empty.
  struct Seen {
    std::string json;     ///< see replica/status.h
    std::string trouble;  ///< why it is not known
  };

  /// Has asked once on return.
  explicit StatusWatch(std::string socket_path);
  ~StatusWatch();
  StatusWatch(const StatusWatch&) = delete;
  StatusWatch& operator=(const StatusWatch&) = delete;

  [[nodiscard]] Seen latest() const;

 private:
  void loop();
  [[nodiscard]] Seen ask() const;

  std::string path_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool quit_ = false;  ///< needs the lock
  Seen seen_;          ///< needs the lock
  std::thread thread_;
};

}  // namespace chronovisor::replica
