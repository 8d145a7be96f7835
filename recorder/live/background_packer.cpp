#include "recorder/live/background_packer.h"

#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

/// Signals are for the thread that waits for input; a thread begun meanwhile
/// takes none.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

BackgroundPacker::~BackgroundPacker() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    waiting_.clear();
  }
  submitted_.notify_one();
  thread_.join();
}

void BackgroundPacker::start() {
  const SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    throw Error{ErrorCode::host, std::string("no thread to compress with: ") + error.what()};
  }
}

void BackgroundPacker::submit(Bytes payload, int level) {
  if (!thread_.joinable()) start();
  bytes_in_flight_ += payload.size();
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(payload), level});
  }
  submitted_.notify_one();
}

PackedChunk BackgroundPacker::take_locked() {
  PackedChunk chunk = std::move(ready_.front());
  ready_.pop_front();
  bytes_in_flight_ -= chunk.header.raw_length;
  return chunk;
}

std::optional<PackedChunk> BackgroundPacker::take_ready() {
  const std::lock_guard lock(mutex_);
  if (ready_.empty()) return std::nullopt;
  return take_locked();
}

PackedChunk BackgroundPacker::take() {
  CHECK_THAT(bytes_in_flight_ != 0, "a payload is on its way");
  std::unique_lock lock(mutex_);
  packed_.wait(lock, [this] { return !ready_.empty(); });
  return take_locked();
}

void BackgroundPacker::run() {
  ChunkEncoder encoder;
  std::unique_lock lock(mutex_);
  while (true) {
    submitted_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    const Work work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    PackedChunk chunk;
    encoder.pack(work.payload, work.level, chunk);
    lock.lock();
    ready_.push_back(std::move(chunk));
    packed_.notify_one();
  }
}

}  // namespace chronovisor
