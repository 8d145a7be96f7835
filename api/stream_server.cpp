#include "api/stream_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "host/descriptor.h"
#include "host/network/sockets.h"

namespace chronovisor::api {
namespace {

constexpr std::size_t kReadBytes = 65536;
/// A pipe that is writable takes at least so much without waiting (PIPE_BUF).
constexpr std::size_t kPipeBytes = 4096;
/// A stop is noticed after so long, when nothing else happens.
constexpr int kPollMs = 200;
/// With so much unsent, nothing more is read until it is.
constexpr std::size_t kEnoughUnsentBytes = 8U << 20;

[[noreturn]] void host_error(const std::string& what) {
  throw Error(ErrorCode::host, what + ": " + std::strerror(errno));
}

/// An eventfd by which other threads end a wait.
class Wake {
 public:
  Wake() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_.open()) host_error("eventfd");
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  void ring() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(fd_.get(), &one, sizeof(one)));  // full: it rings already
  }
  void hush() const {
    std::uint64_t count = 0;
    static_cast<void>(!::read(fd_.get(), &count, sizeof(count)));
  }

 private:
  Descriptor fd_;
};

/// What waits to be sent to a client; filled by any thread.
class Outbox {
 public:
  explicit Outbox(std::shared_ptr<Wake> wake) : wake_(std::move(wake)) {}

  void add(const std::string& message) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      if (unsent_.size() - sent_ > kMostUnsentBytes) {
        closed_ = true;
        unsent_.clear();
        sent_ = 0;
      } else {
        unsent_ += message;
        unsent_ += '\n';
      }
    }
    wake_->ring();
  }
  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return unsent_.size() - sent_;
  }
  [[nodiscard]] bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    unsent_.clear();
    sent_ = 0;
  }
  /// Writes what can be written at once. @return whether the other end is there
  bool flush(int fd, bool is_socket) {
    const std::lock_guard lock(mutex_);
    const std::size_t left = unsent_.size() - sent_;
    if (left == 0) return true;
    const char* from = unsent_.data() + sent_;
    const ssize_t done = is_socket ? ::send(fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : ::write(fd, from, std::min(left, kPipeBytes));
    if (done < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    sent_ += static_cast<std::size_t>(done);
    if (sent_ == unsent_.size()) {
      unsent_.clear();
      sent_ = 0;
    } else if (sent_ > kEnoughUnsentBytes) {
      unsent_.erase(0, sent_);
      sent_ = 0;
    }
    return true;
  }

 private:
  std::shared_ptr<Wake> wake_;
  mutable std::mutex mutex_;
  std::string unsent_;
  std::size_t sent_ = 0;
  bool closed_ = false;
};

/// A client and the line that it is sending.
class Stream {
 public:
  /// Over a socket.
  Stream(Descriptor peer, const Greet& greet, const std::shared_ptr<Wake>& wake)
      : Stream(peer.get(), peer.get(), true, greet, wake) {
    peer_ = std::move(peer);
  }
  /// Over descriptors of somebody else's.
  Stream(int in, int out, const Greet& greet, const std::shared_ptr<Wake>& wake)
      : Stream(in, out, false, greet, wake) {}
  ~Stream() {
    outbox_->close();
    client_.reset();  // which waits for what it asked
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// What poll() is to wait for.
  void want(std::vector<pollfd>& all) const {
    const std::size_t waiting = gone_ ? 0 : outbox_->waiting();
    const bool reads = !gone_ && !ended_ && waiting < kEnoughUnsentBytes;
    // That a pipe has ended would be told again and again; that a socket's other end is
    // gone, once.
    const bool listens = !gone_ && (reads || is_socket_);
    all.push_back({listens ? in_ : -1, static_cast<short>(reads ? POLLIN : 0), 0});
    all.push_back({waiting > 0 ? out_ : -1, POLLOUT, 0});
  }
  void serve(const pollfd& in, const pollfd& out) {
    if ((in.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && in.events != 0) take();
    if ((in.revents & POLLERR) != 0 || (is_socket_ && (in.revents & POLLHUP) != 0)) gone_ = true;
    if ((out.revents & (POLLOUT | POLLERR | POLLHUP)) != 0 && !outbox_->flush(out_, is_socket_)) {
      gone_ = true;
    }
  }
  /// Nothing more comes from it, or goes to it, and nothing is done for it any more. What it
  /// asked before it went is cancelled, but not waited for: that may take others' time.
  [[nodiscard]] bool done() {
    if (outbox_->closed()) gone_ = true;
    if (gone_) {
      outbox_->close();
      client_->cancel_all();
    }
    return client_->idle() && (gone_ || (ended_ && outbox_->waiting() == 0));
  }
  /// It went before it had all its answers.
  [[nodiscard]] bool lost() const { return gone_; }
  void cancel() { client_->cancel_all(); }

 private:
  Stream(int in, int out, bool is_socket, const Greet& greet, const std::shared_ptr<Wake>& wake)
      : in_(in), out_(out), is_socket_(is_socket), outbox_(std::make_shared<Outbox>(wake)) {
    client_ = greet([outbox = outbox_](const std::string& message) { outbox->add(message); });
  }
  void take() {
    std::array<char, kReadBytes> buffer;
    const ssize_t got = ::read(in_, buffer.data(), buffer.size());
    if (got < 0) {
      if (errno != EINTR && errno != EAGAIN) gone_ = true;
      return;
    }
    if (got == 0) {
      ended_ = true;
      if (!line_.empty() && !skipping_) client_->receive(line_);
      line_.clear();
      return;
    }
    std::string_view rest(buffer.data(), static_cast<std::size_t>(got));
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      const std::string_view piece = rest.substr(0, end);
      if (!skipping_ && line_.size() + piece.size() > kMostMessageBytes) {
        skipping_ = true;
        line_.clear();
        client_->refuse_too_large();
      }
      if (!skipping_) line_ += piece;
      if (end == std::string_view::npos) return;
      if (!skipping_ && line_.find_first_not_of(" \t\r") != std::string::npos) {
        client_->receive(line_);
      }
      skipping_ = false;
      line_.clear();
      rest.remove_prefix(end + 1);
    }
  }

  Descriptor peer_;  ///< of a socket
  int in_;
  int out_;
  bool is_socket_;
  std::shared_ptr<Outbox> outbox_;
  std::unique_ptr<Client> client_;
  std::string line_;
  bool skipping_ = false;  ///< the line is too long; until its end
  bool ended_ = false;     ///< it asks nothing more
  bool gone_ = false;
};

/// Says why before it is closed. What does not fit into its socket at once is not waited for.
void turn_away(const Descriptor& peer) {
  const CallError why(CallFault::busy, std::to_string(kMostClients) +
                                           " clients are connected, and there may be no more; "
                                           "come again when one has gone");
  const std::string text = error_message({}, why).json() + "\n";
  static_cast<void>(::send(peer.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

/// @return false when interrupted, which is a reason to look whether to stop
bool wait_for(std::vector<pollfd>& all) {
  if (poll(all.data(), all.size(), kPollMs) >= 0) return true;
  if (errno != EINTR) host_error("poll");
  return false;
}

}  // namespace

void serve_stdio(const Greet& greet, CancelToken stop) {
  const auto wake = std::make_shared<Wake>();
  Stream stream(STDIN_FILENO, STDOUT_FILENO, greet, wake);
  while (!stream.done() && !stop.requested()) {
    std::vector<pollfd> all{{wake->fd(), POLLIN, 0}};
    stream.want(all);
    if (!wait_for(all)) continue;
    wake->hush();
    stream.serve(all[1], all[2]);
  }
  stream.cancel();
  if (stream.lost()) throw Error(ErrorCode::host, "standard output: its reader has gone");
}

SocketServer::SocketServer(const std::string& path) : path_(path), listener_(listen_unix(path)) {}

SocketServer::~SocketServer() { unlink(path_.c_str()); }

void SocketServer::serve(const Greet& greet, CancelToken stop) {
  const auto wake = std::make_shared<Wake>();
  std::vector<std::unique_ptr<Stream>> clients;
  while (!stop.requested()) {
    std::vector<pollfd> all{{wake->fd(), POLLIN, 0}};
    all.push_back({listener_.get(), POLLIN, 0});
    for (const auto& client : clients) client->want(all);
    if (!wait_for(all)) continue;
    wake->hush();
    for (std::size_t n = 0; n < clients.size(); ++n) {
      clients[n]->serve(all[2 + 2 * n], all[3 + 2 * n]);
    }
    std::erase_if(clients, [](const auto& client) { return client->done(); });
    if ((all[1].revents & POLLIN) == 0) continue;
    Descriptor peer = accept_peer(listener_);
    if (!peer.open()) continue;
    if (clients.size() < kMostClients) {
      clients.push_back(std::make_unique<Stream>(std::move(peer), greet, wake));
    } else {
      turn_away(peer);
    }
  }
  for (const auto& client : clients) client->cancel();
}

}  // namespace chronovisor::api
