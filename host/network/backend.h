// Owns what a network card is plugged into: frames that the guest sends go out, and
// frames from outside come in from a thread of the backend's own. Knows no card and no
// machine. What comes is a stranger's and is taken for nothing but bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/bytes.h"
#include "host/network/network_options.h"

namespace chronovisor {

/// What happened at a backend so far.
struct NetworkCounts {
  std::uint64_t sent = 0;          ///< by the guest, and taken
  std::uint64_t sent_dropped = 0;  ///< nobody was there, or was too slow
  std::uint64_t received = 0;
  std::uint64_t received_dropped = 0;  ///< the guest's side had no room, or it was no frame
};

class NetworkBackend {
 public:
  virtual ~NetworkBackend() = default;
  /// The machine's thread. Never waits: what cannot be taken is dropped and counted.
  virtual void send(ByteView frame) = 0;
  /// Any thread.
  [[nodiscard]] virtual NetworkCounts counts() const = 0;
};

/// Where a backend puts frames from outside, from its own thread. Both are called for
/// as long as the backend lives.
struct NetworkSink {
  /// @return false when there is no room now; the frame is not taken then
  std::function<bool(const Bytes& frame)> deliver;
  /// Nothing comes any more.
  std::function<void()> closed;
};

/// Throws Error{host} when the host does not have the place, Error{usage} on a kind that
/// is not a live one (none, pcap).
[[nodiscard]] std::unique_ptr<NetworkBackend> make_backend(const NetworkOptions& options,
                                                           NetworkSink sink);

}  // namespace chronovisor
