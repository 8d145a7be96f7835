#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < table.size(); ++n) {
    std::uint32_t value = n;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320U : 0U);
    table[n] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

}  // namespace

std::uint32_t frame_check_sequence(ByteView frame) {
  std::uint32_t value = 0xffffffff;
  for (const std::uint8_t byte : frame) value = (value >> 8) ^ kCrcTable[(value ^ byte) & 0xff];
  return ~value;
}

ChecksumFindings check_sums(ByteView frame) {
  ChecksumFindings found;
  std::size_t at = kEthernetHeaderBytes;
  std::uint16_t type = network_word(frame, 12);
  if (type == kEtherTypeVlan) {
    type = network_word(frame, 16);
    at += 4;
  }
  if (type != kEtherTypeIpv4 || at + 20 > frame.size()) return found;
  const ByteView packet = frame.subspan(at);
  const std::size_t header = std::size_t{packet[0] & 15U} * 4;
  const std::size_t total = network_word(packet, 2);
  if (packet[0] >> 4 != 4 || header < 20 || total < header || total > packet.size()) return found;
  found.ipv4 = true;
  found.ipv4_good = internet_sum(packet.first(header)) == 0xffff;
  const bool fragment = (network_word(packet, 6) & 0x3fff) != 0;
  const std::uint8_t protocol = packet[9];
  const ByteView payload = packet.subspan(header, total - header);
  const bool tcp = protocol == kProtocolTcp && payload.size() >= 20;
  const bool udp = protocol == kProtocolUdp && payload.size() >= 8 && network_word(payload, 6) != 0;
  if (fragment || (!tcp && !udp)) return found;
  const std::uint32_t pseudo_header = internet_sum(packet.subspan(12, 8)) +
                                      std::uint32_t{protocol} +
                                      static_cast<std::uint32_t>(payload.size());
  found.transport = true;
  found.transport_good = internet_sum(payload, pseudo_header) == 0xffff;
  return found;
}

}  // namespace chronovisor
