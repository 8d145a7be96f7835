// Owns the arbiter as a process: it answers claims of whoever may connect. One thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "replica/transport/arbiter.h"
#include "replica/transport/link.h"

namespace chronovisor::replica {

class ArbiterServer {
 public:
  static constexpr std::size_t kMostPeers = 64;

  /// @param claims where they are kept
  ArbiterServer(const Address& address, PresharedKey key, std::unique_ptr<Arbiter> claims);
  /// Serves until `stop`, which is looked at every 100 ms.
  void run(const std::atomic<bool>& stop);
  [[nodiscard]] std::uint64_t decided() const { return decided_; }

 private:
  struct Peer {
    std::unique_ptr<Link> link;
    std::uint64_t until_ns = 0;
  };
  void accept_one();
  [[nodiscard]] bool serve(Peer& peer);

  Address address_;
  PresharedKey key_;
  std::unique_ptr<Arbiter> claims_;
  Descriptor listener_;
  std::vector<Peer> peers_;
  std::uint64_t decided_ = 0;
};

}  // namespace chronovisor::replica
