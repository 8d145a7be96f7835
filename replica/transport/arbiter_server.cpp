#include "replica/transport/arbiter_server.h"

#include <poll.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "host/network/sockets.h"

namespace chronovisor::replica {
namespace {

constexpr int kStopWaitMs = 100;
/// A peer has so long for its claim; nothing else is said here.
constexpr std::uint64_t kPeerNs = 2'000'000'000;
constexpr std::size_t kMostUnsent = 64U << 10;

}  // namespace

ArbiterServer::ArbiterServer(const Address& address, PresharedKey key,
                             std::unique_ptr<Arbiter> claims)
    : address_(address),
      key_(std::move(key)),
      claims_(std::move(claims)),
      listener_(listen_at(address)) {}

void ArbiterServer::run(const std::atomic<bool>& stop) {
  while (!stop) {
    std::vector<pollfd> wait{{peers_.size() < kMostPeers ? listener_.get() : -1, POLLIN, 0}};
    for (const Peer& peer : peers_) {
      wait.push_back({peer.link->descriptor(), peer.link->events(), 0});
    }
    if (poll(wait.data(), wait.size(), kStopWaitMs) < 0 && errno != EINTR) {
      throw Error(ErrorCode::host, "the host cannot wait for the arbiter's sockets");
    }
    if ((wait[0].revents & POLLIN) != 0) accept_one();
    const std::uint64_t now_ns = monotonic_ns();
    std::erase_if(peers_, [&](Peer& peer) { return now_ns >= peer.until_ns || !serve(peer); });
  }
}

void ArbiterServer::accept_one() {
  Descriptor socket = accept_peer(listener_);
  if (!socket.open()) return;
  try {
    auto channel = make_channel(address_, std::move(socket), ChannelEnd::accepts, key_);
    peers_.push_back({std::make_unique<Link>(std::move(channel)), monotonic_ns() + kPeerNs});
  } catch (const Error&) {
    // The host has no room for one more; it asks again.
  }
}

/// @return false when the peer is gone, or is to be
bool ArbiterServer::serve(Peer& peer) {
  try {
    if (peer.link->unsent_bytes() < kMostUnsent) peer.link->read();
    while (const auto message = peer.link->next()) {
      const auto* claim = std::get_if<Claim>(&*message);
      if (claim == nullptr) return false;
      const auto verdict = claims_->claim(*claim);
      if (!verdict) return false;
      ++decided_;
      peer.link->send(*verdict);
    }
    peer.link->write();
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace chronovisor::replica
