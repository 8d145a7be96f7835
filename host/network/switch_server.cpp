#include "host/network/switch_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "host/network/sockets.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostUnsent = 4 << 20;
constexpr std::size_t kReadAtOnce = 256 << 10;
constexpr int kStopWaitMs = 100;

}  // namespace

SwitchServer::SwitchServer(Descriptor listener, const SwitchFaults& faults)
    : listener_(std::move(listener)), switch_(faults) {}

void SwitchServer::run(const std::atomic<bool>& stop, std::uint64_t until_ns) {
  while (!stop && monotonic_ns() < until_ns) {
    std::vector<pollfd> wait{{peers_.size() < kMostPeers ? listener_.get() : -1, POLLIN, 0}};
    std::vector<NetworkSwitch::Port> ports{0};
    for (const auto& [port, peer] : peers_) {
      const bool unsent = peer.unsent_from < peer.unsent.size();
      wait.push_back({peer.socket.get(), static_cast<short>(POLLIN | (unsent ? POLLOUT : 0)), 0});
      ports.push_back(port);
    }
    if (poll(wait.data(), wait.size(), wait_ms()) < 0 && errno != EINTR) {
      throw Error(ErrorCode::host, "the host cannot wait for the switch's sockets");
    }
    if ((wait[0].revents & POLLIN) != 0) accept_one();
    for (std::size_t n = 1; n < wait.size(); ++n) {
      Peer& peer = peers_.at(ports[n]);
      bool there = true;
      if ((wait[n].revents & POLLOUT) != 0) there = write_to(peer);
      if (there && (wait[n].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        there = read_from(ports[n], peer);
      }
      if (there) continue;
      switch_.remove_port(ports[n]);
      peers_.erase(ports[n]);
    }
    deliver();
  }
}

int SwitchServer::wait_ms() const {
  const std::optional<std::uint64_t> next = switch_.next_ns();
  if (!next) return kStopWaitMs;
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t ns = *next > now ? *next - now : 0;
  return static_cast<int>(std::min<std::uint64_t>((ns + 999'999) / 1'000'000, kStopWaitMs));
}

void SwitchServer::accept_one() {
  Descriptor socket = accept_peer(listener_);
  if (!socket.open()) return;
  const NetworkSwitch::Port port = next_port_++;
  peers_[port].socket = std::move(socket);
  switch_.add_port(port);
}

bool SwitchServer::read_from(NetworkSwitch::Port port, Peer& peer) {
  Bytes buffer(kReadAtOnce);
  const ssize_t got = read(peer.socket.get(), buffer.data(), buffer.size());
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  peer.incoming.add(ByteView(buffer).first(static_cast<std::size_t>(got)));
  const std::uint64_t now = monotonic_ns();
  try {
    while (std::optional<Bytes> frame = peer.incoming.next()) {
      switch_.receive(port, std::move(*frame), now);
    }
  } catch (const Error&) {
    return false;  // it speaks something else
  }
  return true;
}

bool SwitchServer::write_to(Peer& peer) {
  while (peer.unsent_from < peer.unsent.size()) {
    const ssize_t done = send(peer.socket.get(), peer.unsent.data() + peer.unsent_from,
                              peer.unsent.size() - peer.unsent_from, MSG_NOSIGNAL);
    if (done < 0) return errno == EAGAIN || errno == EINTR;
    peer.unsent_from += static_cast<std::size_t>(done);
  }
  peer.unsent.clear();
  peer.unsent_from = 0;
  return true;
}

void SwitchServer::deliver() {
  for (const NetworkSwitch::Departure& leaving : switch_.take(monotonic_ns())) {
    Peer& peer = peers_.at(leaving.port);
    if (peer.unsent.size() - peer.unsent_from > kMostUnsent) {
      ++missed_;
      continue;
    }
    append_frame(peer.unsent, leaving.frame);
  }
  // One that is gone is noticed when it is read from.
  for (auto& [port, peer] : peers_) (void)write_to(peer);
}

}  // namespace chronovisor
