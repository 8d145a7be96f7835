#include "inspect/packet_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/internet.h"
#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

constexpr std::size_t kVlanTagBytes = 4;

std::string mac(ByteView bytes) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                     bytes[3], bytes[4], bytes[5]);
}

std::string ipv4(ByteView bytes) {
  return fmt::format("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
}

/// Without the shortening of zeros: it is for recognition, not for typing.
std::string ipv6(ByteView bytes) {
  std::string text;
  for (std::size_t n = 0; n < 16; n += 2) {
    text += fmt::format("{}{:x}", n == 0 ? "" : ":", network_word(bytes, n));
  }
  return text;
}

std::string tcp_flags(std::uint8_t flags) {
  static constexpr std::array<std::pair<std::uint8_t, std::string_view>, 6> kFlags{
      {{0x02, "SYN"}, {0x01, "FIN"}, {0x04, "RST"}, {0x08, "PSH"}, {0x10, "ACK"}, {0x20, "URG"}}};
  std::string text;
  for (const auto& [bit, name] : kFlags) {
    if ((flags & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
  }
  return text;
}

/// What is above IP; `length` is what the packet says its payload has.
std::string transport(std::uint8_t protocol, const std::string& from, const std::string& to,
                      ByteView payload, std::size_t length) {
  constexpr std::uint8_t kIcmp = 1;
  constexpr std::uint8_t kTcp = 6;
  constexpr std::uint8_t kUdp = 17;
  constexpr std::uint8_t kIcmpv6 = 58;
  const auto ports = [&] {
    return fmt::format("{}.{} > {}.{}", from, network_word(payload, 0), to,
                       network_word(payload, 2));
  };
  if (protocol == kTcp && payload.size() >= 20) {
    const std::size_t header = std::size_t{payload[12]} / 16 * 4;
    return fmt::format("{} tcp [{}], {} bytes", ports(), tcp_flags(payload[13]),
                       length - std::min(length, header));
  }
  if (protocol == kUdp && payload.size() >= 8) {
    return fmt::format("{} udp, {} bytes", ports(), length - std::min<std::size_t>(length, 8));
  }
  if (protocol == kIcmp && payload.size() >= 4) {
    const std::string_view kind = payload[0] == 8   ? "echo request"
                                  : payload[0] == 0 ? "echo reply"
                                                    : "";
    return fmt::format(
        "{} > {} icmp {}", from, to,
        kind.empty() ? fmt::format("type {} code {}", payload[0], payload[1]) : std::string(kind));
  }
  if (protocol == kIcmpv6 && payload.size() >= 4) {
    return fmt::format("{} > {} icmp6 type {}", from, to, payload[0]);
  }
  return fmt::format("{} > {} protocol {}, {} bytes", from, to, protocol, length);
}

std::string of_ipv4(ByteView packet) {
  const std::size_t header = std::size_t{packet[0] & 15U} * 4;
  const std::size_t total = network_word(packet, 2);
  const std::string from = ipv4(packet.subspan(12));
  const std::string to = ipv4(packet.subspan(16));
  if (header < 20 || total < header || header > packet.size()) {
    return fmt::format("{} > {} with a header that is none", from, to);
  }
  if ((network_word(packet, 6) & 0x1fff) != 0) {
    return fmt::format("{} > {} fragment, {} bytes", from, to, total - header);
  }
  return transport(packet[9], from, to, packet.subspan(header), total - header);
}

std::string of_arp(ByteView packet) {
  if (network_word(packet, 6) == 1) {
    return fmt::format("arp who has {}, tell {}", ipv4(packet.subspan(24)),
                       ipv4(packet.subspan(14)));
  }
  return fmt::format("arp {} is at {}", ipv4(packet.subspan(14)), mac(packet.subspan(8)));
}

}  // namespace

std::string packet_text(ByteView frame) {
  if (frame.size() < kEthernetHeaderBytes) return fmt::format("{} bytes, no frame", frame.size());
  std::size_t at = kEthernetHeaderBytes;
  std::uint16_t type = network_word(frame, 12);
  if (type == kEtherTypeVlan && frame.size() >= kEthernetHeaderBytes + kVlanTagBytes) {
    type = network_word(frame, 16);
    at += kVlanTagBytes;
  }
  const ByteView packet = frame.subspan(std::min(at, frame.size()));
  if (type == kEtherTypeIpv4 && packet.size() >= 20) return of_ipv4(packet);
  if (type == kEtherTypeArp && packet.size() >= 28) return of_arp(packet);
  if (type == kEtherTypeIpv6 && packet.size() >= 40) {
    return transport(packet[6], ipv6(packet.subspan(8)), ipv6(packet.subspan(24)),
                     packet.subspan(40), network_word(packet, 4));
  }
  return fmt::format("{} > {} type {:#06x}", mac(frame.subspan(6)), mac(frame), type);
}

}  // namespace chronovisor
