// Owns a learning Ethernet switch with faults on demand: which frames leave by which
// ports, when, and what happens to them on the way. Knows no socket: time is what it
// is told. What the faults do is a function of the seed and of the frames in their
// order. Frames are strangers' and are taken for bytes. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "base/bytes.h"

namespace chronovisor {

/// Shares are of frames, from 0 to 1.
struct SwitchFaults {
  std::uint64_t seed = 0;
  double drop = 0;
  double duplicate = 0;
  double reorder = 0;  ///< held back until another frame has passed, or for 10 ms
  double corrupt = 0;  ///< a bit of it changes
  std::uint64_t delay_ns = 0;
  std::uint64_t jitter_ns = 0;  ///< up to that more
};

struct SwitchCounts {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t dropped = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;
  std::uint64_t corrupted = 0;
  std::uint64_t malformed = 0;  ///< shorter than a header
  std::uint64_t overflowed = 0;
};

class NetworkSwitch {
 public:
  using Port = std::uint32_t;
  struct Departure {
    Port port;
    Bytes frame;
  };
  /// Frames that wait because of delays; more are dropped.
  static constexpr std::size_t kMostWaiting = 65536;
  static constexpr std::size_t kMostWaitingBytes = 64 << 20;
  /// Addresses that are known; the oldest are forgotten.
  static constexpr std::size_t kMostAddresses = 4096;

  explicit NetworkSwitch(const SwitchFaults& faults) : faults_(faults), random_(faults.seed) {}

  void add_port(Port port);
  /// Forgets its addresses, and what waits for it.
  void remove_port(Port port);
  /// A frame came in by `port`.
  void receive(Port port, Bytes frame, std::uint64_t now_ns);
  /// What leaves by now, in order.
  [[nodiscard]] std::vector<Departure> take(std::uint64_t now_ns);
  /// When the next frame leaves; nothing when none waits.
  [[nodiscard]] std::optional<std::uint64_t> next_ns() const;
  [[nodiscard]] const SwitchCounts& counts() const { return counts_; }

 private:
  using Address = std::array<std::uint8_t, 6>;
  struct Learned {
    Port port;
    std::uint64_t number;  ///< of the frame that taught it
  };
  [[nodiscard]] bool happens(double share);
  void learn(const Address& address, Port port);
  void forward(Port from, const Bytes& frame, std::uint64_t due_ns);

  SwitchFaults faults_;
  std::mt19937_64 random_;
  std::vector<Port> ports_;
  std::map<Address, Learned> learned_;
  /// By the time of leaving, then by number, so that equal times keep their order.
  std::map<std::pair<std::uint64_t, std::uint64_t>, Departure> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::optional<std::pair<Port, Bytes>> held_back_;
  std::uint64_t held_until_ns_ = 0;
  std::uint64_t next_number_ = 0;
  SwitchCounts counts_;
};

}  // namespace chronovisor
