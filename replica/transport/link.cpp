#include "replica/transport/link.h"

#include <poll.h>

#include "base/error.h"

namespace chronovisor::replica {
namespace {

/// How much is read before other things have their turn.
constexpr std::size_t kReadAtOnce = 256U << 10;

}  // namespace

short Link::events() const {
  const bool writes = unsent_bytes() != 0 || channel_->wants_to_write();
  return static_cast<short>(POLLIN | (writes ? POLLOUT : 0));
}

void Link::read() {
  for (std::size_t all = 0; all < kReadAtOnce;) {
    std::size_t got = 0;
    try {
      got = channel_->read_some(buffer_);
    } catch (const Error&) {
      // What came before the end may be why it ended; the end comes again.
      if (all != 0) return;
      throw;
    }
    if (got == 0) return;
    reader_.add(ByteView(buffer_).first(got));
    all += got;
  }
}

void Link::write() {
  while (unsent_bytes() != 0) {
    const std::size_t done = channel_->write_some(ByteView(unsent_).subspan(unsent_from_));
    if (done == 0) return;
    unsent_from_ += done;
    sent_bytes_ += done;
  }
  unsent_.clear();
  unsent_from_ = 0;
}

}  // namespace chronovisor::replica
