#include "host/network/boot_answer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "base/internet.h"
#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

// DHCP on UDP on IPv4 without options.
constexpr std::uint8_t kIpv4WithoutOptions = 0x45;
constexpr std::size_t kUdpAt = kEthernetHeaderBytes + 20;
constexpr std::size_t kChecksumAt = kUdpAt + 6;
constexpr std::size_t kOptionsAt = kUdpAt + 8 + 240;
constexpr std::uint16_t kServerPort = 67;
constexpr std::uint32_t kDhcpMagic = 0x63825363;
constexpr std::uint8_t kPad = 0;
constexpr std::uint8_t kEnd = 255;
constexpr std::array<std::uint8_t, 6> kNoProxy{175, 3, 176, 1, 1, kEnd};

// Neighbour discovery on IPv6 without extension headers.
constexpr std::size_t kIpv6AddressesAt = kEthernetHeaderBytes + 8;
constexpr std::size_t kIcmpv6At = kEthernetHeaderBytes + 40;
constexpr std::uint8_t kRouterSolicitation = 133;
constexpr std::uint8_t kRouterAdvertisement = 134;
constexpr std::size_t kAdvertisementBytes = 16;
constexpr std::array<std::uint8_t, 6> kGatewayMac{0x52, 0x55, 10, 0, 2, 2};  // as libslirp's
constexpr std::array<std::uint8_t, 16> kGateway{0xfe, 0x80, 0, 0, 0, 0, 0, 0,
                                                0,    0,    0, 0, 0, 0, 0, 2};

/// Puts the checksum of UDP and ICMPv6 where it belongs.
void set_checksum(std::span<std::uint8_t> payload, std::size_t at, ByteView addresses,
                  std::uint8_t protocol) {
  set_network_word(payload, at, 0);
  const std::uint32_t pseudo_header = internet_sum(addresses) + std::uint32_t{protocol} +
                                      static_cast<std::uint32_t>(payload.size());
  const std::uint16_t sum = internet_sum(payload, pseudo_header);
  set_network_word(payload, at, sum == 0xffff ? sum : static_cast<std::uint16_t>(~sum));
}

/// The datagram of a frame that is an answer by DHCP, or nothing.
std::span<std::uint8_t> dhcp_answer(std::span<std::uint8_t> frame) {
  if (frame.size() <= kOptionsAt || network_word(frame, 12) != kEtherTypeIpv4 ||
      frame[kEthernetHeaderBytes] != kIpv4WithoutOptions ||
      frame[kEthernetHeaderBytes + 9] != kProtocolUdp ||
      network_word(frame, kUdpAt) != kServerPort ||
      network_long(frame, kOptionsAt - 4) != kDhcpMagic) {
    return {};
  }
  const std::size_t length = network_word(frame, kUdpAt + 4);
  if (length > frame.size() - kUdpAt) return {};
  return frame.subspan(kUdpAt, length);
}

/// @return where the options end, or the datagram's size if they do not
std::size_t end_of_options(ByteView datagram) {
  std::size_t at = kOptionsAt - kUdpAt;
  while (at < datagram.size() && datagram[at] != kEnd) {
    if (datagram[at] == kPad) {
      ++at;
    } else if (at + 1 < datagram.size()) {
      at += std::size_t{2} + datagram[at + 1];
    } else {
      return datagram.size();
    }
  }
  return std::min(at, datagram.size());
}

}  // namespace

void say_no_proxy(Bytes& frame) {
  const std::span<std::uint8_t> datagram = dhcp_answer(frame);
  const std::size_t end = end_of_options(datagram);
  if (datagram.size() < end + kNoProxy.size()) return;
  std::copy(kNoProxy.begin(), kNoProxy.end(), datagram.begin() + static_cast<std::ptrdiff_t>(end));
  if (network_word(frame, kChecksumAt) == 0) return;  // it has none
  set_checksum(datagram, kChecksumAt - kUdpAt, ByteView(frame).subspan(kUdpAt - 8, 8),
               kProtocolUdp);
}

std::optional<Bytes> say_no_router(ByteView frame) {
  if (frame.size() <= kIcmpv6At || network_word(frame, 12) != kEtherTypeIpv6 ||
      frame[kEthernetHeaderBytes + 6] != kProtocolIcmpv6 ||
      frame[kIcmpv6At] != kRouterSolicitation) {
    return std::nullopt;
  }
  const ByteView asker = frame.subspan(kIpv6AddressesAt, 16);
  // Who has no address yet is answered at that of all nodes.
  static constexpr std::array<std::uint8_t, 16> kNobody{};
  static constexpr std::array<std::uint8_t, 16> kAllNodes{0xff, 2, 0, 0, 0, 0, 0, 0,
                                                          0,    0, 0, 0, 0, 0, 0, 1};
  const bool nobody = std::equal(asker.begin(), asker.end(), kNobody.begin());

  Bytes answer(kIcmpv6At + kAdvertisementBytes);
  const auto put = [&answer](std::size_t at, ByteView bytes) {
    std::copy(bytes.begin(), bytes.end(), answer.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, frame.subspan(6, 6));
  put(6, kGatewayMac);
  set_network_word(answer, 12, kEtherTypeIpv6);
  answer[kEthernetHeaderBytes] = 6 << 4;
  set_network_word(answer, kEthernetHeaderBytes + 4, kAdvertisementBytes);
  answer[kEthernetHeaderBytes + 6] = kProtocolIcmpv6;
  answer[kEthernetHeaderBytes + 7] = 255;  // hops: it comes from this link
  put(kIpv6AddressesAt, kGateway);
  put(kIpv6AddressesAt + 16, nobody ? ByteView(kAllNodes) : asker);
  // A lifetime of 0 is that of a router that is nobody's; without options it has no prefix.
  answer[kIcmpv6At] = kRouterAdvertisement;
  set_checksum(std::span(answer).subspan(kIcmpv6At), 2,
               ByteView(answer).subspan(kIpv6AddressesAt, 32), kProtocolIcmpv6);
  return answer;
}

}  // namespace chronovisor
