#include "host/network/frame_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace chronovisor {

FrameQueue::FrameQueue() : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (event_ < 0) {
    throw Error(ErrorCode::host, std::string("the host gives no eventfd: ") + std::strerror(errno));
  }
}

FrameQueue::~FrameQueue() { close(event_); }

void FrameQueue::push(ByteView frame) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes_ + frame.size() > kMostBytes) {
      ++dropped_;
      return;
    }
    waiting_.emplace_back(frame.begin(), frame.end());
    bytes_ += frame.size();
    if (waiting_.size() > 1) return;  // it was woken for the first
  }
  wake();
}

void FrameQueue::wake() const {
  const std::uint64_t one = 1;
  while (write(event_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

std::vector<Bytes> FrameQueue::take_all() {
  std::uint64_t count = 0;
  while (read(event_, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  bytes_ = 0;
  return std::exchange(waiting_, {});
}

}  // namespace chronovisor
