#include "host/inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace chronovisor {

Inbox::Inbox() : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (event_ < 0) {
    throw Error(ErrorCode::host, std::string("the host gives no eventfd: ") + std::strerror(errno));
  }
}

Inbox::~Inbox() { close(event_); }

void Inbox::wake() const {
  const std::uint64_t one = 1;
  // It fails only when the count is at its end, and then the reader is woken anyway.
  while (write(event_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

/// One wake-up is enough for all that comes until the next look.
void Inbox::refresh() {
  if (!fresh_.exchange(true)) wake();
}

std::vector<Input> Inbox::take_all() {
  // Asked by a running guest thousands of times a second.
  if (!fresh_) return {};
  std::uint64_t count = 0;
  while (read(event_, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  // In this order: what comes from here on wakes again, what came before is taken.
  fresh_ = false;
  const std::lock_guard lock(mutex_);
  return std::exchange(pushed_, {});
}

Inbox::Source::Source(Inbox& inbox, InputKind kind, std::uint16_t device)
    : inbox_(inbox), kind_(kind), device_(device) {
  ++inbox_.open_sources_;
  const std::lock_guard lock(inbox_.mutex_);
  inbox_.sources_.push_back(this);
}

Inbox::Source::~Source() {
  close();
  const std::lock_guard lock(inbox_.mutex_);
  std::erase(inbox_.sources_, this);
}

bool Inbox::Source::offer(const Bytes& payload, std::size_t most_bytes) {
  const std::size_t waiting = waiting_bytes_;
  if (waiting != 0 && waiting + payload.size() > most_bytes) return false;
  waiting_bytes_ += payload.size();
  push(payload);
  return true;
}

void Inbox::delivered(const Input& input) {
  const std::lock_guard lock(mutex_);
  for (Source* const source : sources_) {
    if (source->kind_ != input.kind || source->device_ != input.device) continue;
    const std::size_t waiting = source->waiting_bytes_;
    source->waiting_bytes_ -= std::min(waiting, input.payload.size());
    return;
  }
}

void Inbox::Source::push(Bytes payload) {
  {
    const std::lock_guard lock(inbox_.mutex_);
    inbox_.pushed_.push_back({kind_, device_, std::move(payload)});
  }
  inbox_.refresh();
}

void Inbox::Source::close() {
  if (!open_.exchange(false)) return;
  --inbox_.open_sources_;
  inbox_.refresh();
}

}  // namespace chronovisor
