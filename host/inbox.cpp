#include "host/inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

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

std::vector<Input> Inbox::take_all() {
  // Asked by a running guest a thousand times a second.
  if (!fresh_.exchange(false)) return {};
  std::uint64_t count = 0;
  while (read(event_, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  return std::exchange(pushed_, {});
}

Inbox::Source::Source(Inbox& inbox, InputKind kind, std::uint16_t device)
    : inbox_(inbox), kind_(kind), device_(device) {
  ++inbox_.open_sources_;
}

void Inbox::Source::push(Bytes payload) {
  {
    const std::lock_guard lock(inbox_.mutex_);
    inbox_.pushed_.push_back({kind_, device_, std::move(payload)});
  }
  inbox_.fresh_ = true;
  inbox_.wake();
}

void Inbox::Source::close() {
  if (!open_.exchange(false)) return;
  --inbox_.open_sources_;
  inbox_.fresh_ = true;
  inbox_.wake();
}

}  // namespace chronovisor
