#include "host/display/vnc_door.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/error.h"
#include "host/host.h"
#include "host/network/sockets.h"

namespace chronovisor {
namespace {

constexpr int kLookAgainMs = 500;
constexpr std::uint64_t kGreetingNs = 10'000'000'000;
/// A viewer may ask its user for the password when it has connected.
constexpr std::uint64_t kLoginNs = 120'000'000'000;
constexpr std::uint64_t kMessageNs = 20'000'000'000;
constexpr std::size_t kPiece = std::size_t{64} << 10;
/// What a viewer does not take goes on until it is so much: several large screens.
constexpr std::size_t kMostToViewer = std::size_t{64} << 20;

void append(Bytes& to, ByteView more) { to.insert(to.end(), more.begin(), more.end()); }

/// Sends as much as goes. @return false: the other end is gone
bool send_some(int fd, Bytes& bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    bytes.erase(bytes.begin(), bytes.begin() + sent);
  }
  return true;
}

/// Receives what is there, a piece at most. @return false: the other end is gone
bool receive_some(int fd, Bytes& bytes) {
  std::array<std::uint8_t, kPiece> piece;
  const ssize_t got = ::recv(fd, piece.data(), piece.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  append(bytes, ByteView(piece.data(), static_cast<std::size_t>(got)));
  return got != 0;
}

Descriptor listen_for_viewers(const std::string& address, std::uint16_t port) {
  try {
    return listen_tcp(address, port);
  } catch (const Error& error) {
    throw Error(error.code(), std::string("--display vnc: cannot listen at ") + error.what());
  }
}

}  // namespace

VncDoor::VncDoor(const std::string& address, std::uint16_t port, bool has_password)
    : has_password_(has_password),
      listening_(listen_for_viewers(address, port)),
      event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!event_.open()) throw Error(ErrorCode::host, "--display vnc: no event descriptor");
  thread_ = std::thread([this] { work(); });
}

VncDoor::~VncDoor() {
  const std::uint64_t one = 1;
  (void)!::write(event_.get(), &one, sizeof one);
  thread_.join();
}

std::optional<Descriptor> VncDoor::arrival() {
  const std::lock_guard lock(mutex_);
  if (arrivals_.empty()) return std::nullopt;
  Descriptor first = std::move(arrivals_.front());
  arrivals_.pop_front();
  return first;
}

void VncDoor::work() {
  std::vector<pollfd> polled;
  while (true) {
    polled.clear();
    polled.push_back({event_.get(), POLLIN, 0});
    polled.push_back({listening_.get(), POLLIN, 0});
    for (const Viewer& viewer : viewers_) {
      // Who is not read from waits until the server has taken what came.
      const bool reads = viewer.to_server.size() < kPiece && !viewer.server_ended;
      polled.push_back(
          {viewer.outside.get(),
           static_cast<short>((reads ? POLLIN : 0) | (viewer.to_viewer.empty() ? 0 : POLLOUT)), 0});
      polled.push_back({viewer.server_ended ? -1 : viewer.inside.get(),
                        static_cast<short>(POLLIN | (viewer.to_server.empty() ? 0 : POLLOUT)), 0});
    }
    if (::poll(polled.data(), polled.size(), kLookAgainMs) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    auto next = polled.begin() + 2;
    const std::uint64_t now_ns = monotonic_ns();
    for (auto viewer = viewers_.begin(); viewer != viewers_.end(); next += 2) {
      look_at(*viewer, next[0].revents, next[1].revents);
      const bool done = viewer->gone || is_late(*viewer, now_ns);
      viewer = done ? viewers_.erase(viewer) : std::next(viewer);
    }
    if (polled[1].revents != 0) accept_viewer();
  }
}

void VncDoor::look_at(Viewer& viewer, short outside, short inside) {
  if ((inside & (POLLIN | POLLHUP | POLLERR)) != 0) read_server(viewer);
  if ((outside & (POLLIN | POLLHUP | POLLERR)) != 0 && !viewer.server_ended) read_viewer(viewer);
  if (viewer.inside.open() && !viewer.server_ended &&
      !send_some(viewer.inside.get(), viewer.to_server)) {
    viewer.server_ended = true;
  }
  if (!send_some(viewer.outside.get(), viewer.to_viewer)) viewer.gone = true;
  if (viewer.to_viewer.size() > kMostToViewer) viewer.gone = true;
  if (viewer.server_ended && viewer.to_viewer.empty()) viewer.gone = true;
}

bool VncDoor::is_late(const Viewer& viewer, std::uint64_t now_ns) {
  const std::uint64_t waited_ns = now_ns - std::min(now_ns, viewer.since_ns);
  if (!viewer.messages.greeted()) return waited_ns > kGreetingNs;
  if (!viewer.messages.logged_in()) return waited_ns > kLoginNs;
  return (!viewer.partial.empty() || viewer.server_ended) && waited_ns > kMessageNs;
}

void VncDoor::accept_viewer() {
  Descriptor viewer = accept_peer(listening_);
  if (!viewer.open()) return;
  const int yes = 1;
  (void)::setsockopt(viewer.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  make_room();
  if (viewers_.size() >= kMostViewers) return;
  Viewer& added = viewers_.emplace_back(std::move(viewer), has_password_, monotonic_ns());
  const auto* const greeting = reinterpret_cast<const std::uint8_t*>(VncMessages::kGreeting);
  append(added.to_viewer, ByteView(greeting, VncMessages::kGreetingBytes));
  if (!send_some(added.outside.get(), added.to_viewer)) added.gone = true;
}

/// Where all places are taken, who has waited longest without logging in goes.
void VncDoor::make_room() {
  if (viewers_.size() < kMostViewers) return;
  const auto waits = std::find_if(viewers_.begin(), viewers_.end(), [](const Viewer& viewer) {
    return !viewer.messages.logged_in();
  });
  if (waits != viewers_.end()) viewers_.erase(waits);
}

void VncDoor::read_viewer(Viewer& viewer) {
  const bool had_part = !viewer.partial.empty();
  if (!receive_some(viewer.outside.get(), viewer.partial)) {
    viewer.gone = true;
    return;
  }
  std::size_t at = 0;
  while (at < viewer.partial.size()) {
    const bool was_greeted = viewer.messages.greeted();
    const auto length = viewer.messages.take(ByteView(viewer.partial).subspan(at));
    if (!length) {
      viewer.gone = true;
      return;
    }
    if (*length == 0) break;
    append(viewer.to_server, ByteView(viewer.partial).subspan(at, *length));
    at += *length;
    if (!was_greeted) let_in(viewer);
  }
  viewer.partial.erase(viewer.partial.begin(),
                       viewer.partial.begin() + static_cast<std::ptrdiff_t>(at));
  // A message is waited for as a whole, however slowly it comes.
  if (viewer.messages.logged_in() && (at != 0 || !had_part)) viewer.since_ns = monotonic_ns();
}

void VncDoor::let_in(Viewer& viewer) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0) {
    viewer.gone = true;
    return;
  }
  viewer.inside = Descriptor(pair[0]);
  // What it has said is there before the server looks.
  if (!send_some(viewer.inside.get(), viewer.to_server)) viewer.gone = true;
  const std::lock_guard lock(mutex_);
  arrivals_.emplace_back(pair[1]);
}

void VncDoor::read_server(Viewer& viewer) {
  Bytes said;
  const bool there = receive_some(viewer.inside.get(), said);
  const std::size_t dropped = std::min(viewer.greeting_left, said.size());
  viewer.greeting_left -= dropped;
  append(viewer.to_viewer, ByteView(said).subspan(dropped));
  if (there) return;
  viewer.server_ended = true;
  viewer.since_ns = monotonic_ns();
}

}  // namespace chronovisor
