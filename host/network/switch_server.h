// Owns the sockets of a switch: a listener, and peers that speak frames as QEMU's
// stream sockets do. A peer that breaks the framing, or reads nothing while its frames
// pile up, loses what it missed or its place, and harms no other. One thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "host/descriptor.h"
#include "host/network/frame_stream.h"
#include "host/network/network_switch.h"

namespace chronovisor {

class SwitchServer {
 public:
  static constexpr std::size_t kMostPeers = 256;

  SwitchServer(Descriptor listener, const SwitchFaults& faults);
  /// Serves until `until_ns` of the host's monotonic clock, or until `stop`; both are
  /// looked at every 100 ms. Throws Error{host} when the host cannot wait.
  void run(const std::atomic<bool>& stop, std::uint64_t until_ns);
  [[nodiscard]] const SwitchCounts& counts() const { return switch_.counts(); }
  [[nodiscard]] std::uint64_t peers_seen() const { return next_port_; }
  /// Frames that a slow peer did not take.
  [[nodiscard]] std::uint64_t missed() const { return missed_; }

 private:
  struct Peer {
    Descriptor socket;
    FrameStreamReader incoming;
    Bytes unsent;
    std::size_t unsent_from = 0;
  };
  void accept_one();
  /// @return false when the peer is gone
  [[nodiscard]] bool read_from(NetworkSwitch::Port port, Peer& peer);
  [[nodiscard]] static bool write_to(Peer& peer);
  void deliver();
  [[nodiscard]] int wait_ms() const;

  Descriptor listener_;
  NetworkSwitch switch_;
  std::map<NetworkSwitch::Port, Peer> peers_;
  NetworkSwitch::Port next_port_ = 0;
  std::uint64_t missed_ = 0;
};

}  // namespace chronovisor
