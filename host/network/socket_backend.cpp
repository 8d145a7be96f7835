#include "host/network/socket_backend.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "host/network/sockets.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostUnsent = 4 << 20;
/// How much is read before other things have their turn.
constexpr std::size_t kReadAtOnce = 256 << 10;
/// How long a stream waits before it asks again whether there is room.
constexpr int kRoomWaitMs = 2;

}  // namespace

SocketBackend::SocketBackend(Framing framing, Descriptor peer, Descriptor listener,
                             NetworkSink sink, std::string remote)
    : framing_(framing),
      remote_(std::move(remote)),
      peer_(std::move(peer)),
      listener_(std::move(listener)),
      sink_(std::move(sink)),
      thread_([this] { loop(); }) {}

SocketBackend::~SocketBackend() {
  stop_ = true;
  outgoing_.wake();
  thread_.join();
}

NetworkCounts SocketBackend::counts() const {
  return {.sent = sent_,
          .sent_dropped = sent_dropped_ + outgoing_.dropped(),
          .received = received_,
          .received_dropped = received_dropped_};
}

void SocketBackend::loop() {
  while (!stop_) {
    const bool unsent = unsent_from_ < unsent_.size();
    const auto events =
        static_cast<short>((waiting_.empty() ? POLLIN : 0) | (unsent ? POLLOUT : 0));
    std::array<pollfd, 3> wait{{{outgoing_.wait_fd(), POLLIN, 0},
                                {events != 0 ? peer_.get() : -1, events, 0},
                                {peer_.open() ? -1 : listener_.get(), POLLIN, 0}}};
    if (poll(wait.data(), wait.size(), waiting_.empty() ? -1 : kRoomWaitMs) < 0 && errno != EINTR) {
      break;
    }
    if (!peer_.open() && (wait[2].revents & POLLIN) != 0) peer_ = accept_peer(listener_);
    deliver_waiting();
    write_out();
    if (peer_.open() && waiting_.empty() && (wait[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      read_in();
    }
  }
}

void SocketBackend::lose_peer() {
  peer_.reset();
  incoming_ = {};
  unsent_.clear();
  unsent_from_ = 0;
  if (!listener_.open()) sink_.closed();
}

void SocketBackend::write_out() {
  for (Bytes& frame : outgoing_.take_all()) {
    if (!peer_.open() || unsent_.size() - unsent_from_ > kMostUnsent) {
      ++sent_dropped_;
      continue;
    }
    if (framing_ == Framing::stream) {
      append_frame(unsent_, frame);
      ++sent_;
    } else if (write_datagram(frame)) {
      ++sent_;
    } else {
      ++sent_dropped_;
    }
  }
  while (peer_.open() && unsent_from_ < unsent_.size()) {
    const ssize_t done = ::send(peer_.get(), unsent_.data() + unsent_from_,
                                unsent_.size() - unsent_from_, MSG_NOSIGNAL);
    if (done < 0) {
      if (errno != EAGAIN && errno != EINTR) lose_peer();
      return;
    }
    unsent_from_ += static_cast<std::size_t>(done);
  }
  unsent_.clear();
  unsent_from_ = 0;
}

/// The other end may come later, or be another one; until then what is sent is lost.
bool SocketBackend::write_datagram(ByteView frame) {
  const auto done = [&] {
    return write(peer_.get(), frame.data(), frame.size()) == static_cast<ssize_t>(frame.size());
  };
  if (done()) return true;
  const bool nobody = errno == ENOTCONN || errno == ECONNREFUSED || errno == ENOENT;
  if (!nobody || remote_.empty()) return false;
  try {
    return direct_datagrams(peer_, remote_) && done();
  } catch (const Error&) {
    return false;
  }
}

void SocketBackend::deliver_waiting() {
  if (waiting_.empty() || !sink_.deliver(waiting_.front())) return;
  ++received_;
  waiting_.clear();
  if (framing_ == Framing::stream) read_stream();
}

void SocketBackend::read_in() {
  if (framing_ == Framing::datagram) {
    read_datagrams();
    return;
  }
  Bytes buffer(kReadAtOnce);
  const ssize_t got = read(peer_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    lose_peer();
    return;
  }
  incoming_.add(ByteView(buffer).first(static_cast<std::size_t>(got)));
  read_stream();
}

/// Delivers the whole frames that were read, until one finds no room.
void SocketBackend::read_stream() {
  try {
    while (std::optional<Bytes> frame = incoming_.next()) {
      if (!sink_.deliver(*frame)) {
        waiting_.push_back(std::move(*frame));
        return;
      }
      ++received_;
    }
  } catch (const Error&) {
    // The peer speaks something else: nothing of what follows can be told apart.
    ++received_dropped_;
    lose_peer();
  }
}

void SocketBackend::read_datagrams() {
  Bytes buffer(kLongestStreamFrame + 1);
  for (std::size_t read_bytes = 0; read_bytes < kReadAtOnce;) {
    const ssize_t got = read(peer_.get(), buffer.data(), buffer.size());
    if (got < 0) return;  // nothing more, or the other end is not there yet
    const auto size = static_cast<std::size_t>(got);
    read_bytes += size + 64;
    if (size == buffer.size() ||
        !sink_.deliver(Bytes(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size)))) {
      ++received_dropped_;
    } else {
      ++received_;
    }
  }
}

}  // namespace chronovisor
