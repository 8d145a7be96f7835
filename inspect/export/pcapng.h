// Owns the export of a recording's packets as a pcapng capture, which Wireshark, tshark
// and tcpdump open: an interface a card, the guest's own clock, the direction, and in each
// packet's comment its position. Any thread.
//
// Source: draft-ietf-opsawg-pcapng, "PCAP Next Generation (pcapng) Capture File Format".
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "recorder/format/start_condition.h"
#include "timetravel/packets.h"

namespace chronovisor {

/// Receives the capture, piece by piece, in order.
using CaptureSink = std::function<void(ByteView)>;

class PcapngWriter {
 public:
  /// Writes the capture's head: section and interfaces.
  PcapngWriter(const StartCondition& start, CaptureSink out);
  void packet(const WholePacket& packet);
  /// The end: what each interface lost outside of the guest, for as many as are known.
  void finish(const std::vector<std::uint64_t>& dropped);
  [[nodiscard]] std::uint64_t packets() const { return packets_; }

 private:
  void block(std::uint32_t type, ByteWriter body);
  [[nodiscard]] std::uint64_t time_of(Position position, std::uint64_t idle_ns) const;

  CaptureSink out_;
  std::uint64_t start_ns_;  ///< of the guest's clock
  std::uint64_t ns_per_step_;
  std::uint64_t last_ns_;
  std::uint64_t packets_ = 0;
  std::vector<std::uint64_t> received_;  ///< by interface
};

}  // namespace chronovisor
