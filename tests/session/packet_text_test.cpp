// What is said of a packet in one line, also of one that is cut anywhere.
#include <doctest/doctest.h>

#include <array>

#include "inspect/packet_text.h"

namespace chronovisor {
namespace {

Bytes frame(std::uint16_t type, const Bytes& payload) {
  Bytes bytes{0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};
  bytes.push_back(static_cast<std::uint8_t>(type >> 8));
  bytes.push_back(static_cast<std::uint8_t>(type));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

const Bytes kTcp{0x45, 0, 0,  44,   0,    1,    0,    0, 64, 6, 0, 0, 10, 0, 2, 2,    10,
                 0,    2, 15, 0x1f, 0x90, 0x1b, 0x58, 0, 0,  0, 1, 0, 0,  0, 2, 0x50, 0x18};

Bytes whole(Bytes packet) {
  packet.resize(44);
  return packet;
}

TEST_CASE("TCP is said with its ports, flags and length, with a VLAN tag too") {
  const std::string said = "10.0.2.2.8080 > 10.0.2.15.7000 tcp [PSH ACK], 4 bytes";
  CHECK(packet_text(frame(0x0800, whole(kTcp))) == said);
  Bytes tagged{0, 5, 8, 0};
  const Bytes packet = whole(kTcp);
  tagged.insert(tagged.end(), packet.begin(), packet.end());
  CHECK(packet_text(frame(0x8100, tagged)) == said);
}

TEST_CASE("a frame that is cut anywhere is said as far as it goes") {
  for (const std::uint16_t type : std::array<std::uint16_t, 4>{0x0800, 0x0806, 0x8100, 0x86dd}) {
    const Bytes full = frame(type, Bytes(60, 0x45));
    for (std::size_t size = 0; size <= full.size(); ++size) {
      // In memory of its own, so that reading past its end is noticed where that is looked for.
      const Bytes part(full.begin(), full.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_FALSE(packet_text(part).empty());
    }
  }
  // A tag that is announced and not there is no part of what is said.
  CHECK(packet_text(frame(0x8100, {})) == "52:54:00:aa:bb:cc > 52:54:00:12:34:56 type 0x8100");
  CHECK(packet_text(frame(0x8100, {0, 5, 8})) ==
        "52:54:00:aa:bb:cc > 52:54:00:12:34:56 type 0x8100");
}

}  // namespace
}  // namespace chronovisor
