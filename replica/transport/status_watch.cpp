#include "replica/transport/status_watch.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "replica/transport/control.h"

namespace chronovisor::replica {
namespace {

constexpr std::chrono::milliseconds kAgain{250};

}  // namespace

StatusWatch::StatusWatch(std::string socket_path)
    : path_(std::move(socket_path)), seen_(ask()), thread_([this] { loop(); }) {}

StatusWatch::~StatusWatch() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

StatusWatch::Seen StatusWatch::latest() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

StatusWatch::Seen StatusWatch::ask() const {
  try {
    return {status_of(path_), ""};
  } catch (const Error& error) {
    return {"", error.what()};
  }
}

void StatusWatch::loop() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kAgain, [this] { return quit_; })) {
    lock.unlock();
    Seen seen = ask();
    lock.lock();
    seen_ = std::move(seen);
  }
}

}  // namespace chronovisor::replica
