// Owns the frame by which a switch learns where a card is now, sent for the guest when its
// machine goes live elsewhere: a reverse ARP request that nobody answers, as QEMU sends after
// a migration. Source: RFC 903.
#pragma once

#include "base/bytes.h"
#include "vmm/devices/core/card.h"

namespace chronovisor::replica {

[[nodiscard]] inline Bytes announcement(const MacAddress& address) {
  constexpr std::size_t kShortest = 60;
  ByteWriter out;
  for (int n = 0; n < 6; ++n) out.integer(std::uint8_t{0xff});
  out.bytes(address);
  // Reverse ARP; Ethernet, IPv4, their lengths, and "request reverse".
  for (const unsigned byte : {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3}) {
    out.integer(static_cast<std::uint8_t>(byte));
  }
  for (int n = 0; n < 2; ++n) {
    out.bytes(address);
    out.integer(std::uint32_t{0});
  }
  Bytes frame = out.take();
  frame.resize(kShortest);
  return frame;
}

}  // namespace chronovisor::replica
