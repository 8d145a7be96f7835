#include "base/internet.h"

namespace chronovisor {

std::uint16_t network_word(ByteView bytes, std::size_t at) {
  if (at + 2 > bytes.size()) return 0;
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void set_network_word(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value) {
  if (at + 2 > bytes.size()) return;
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint32_t network_long(ByteView bytes, std::size_t at) {
  return std::uint32_t{network_word(bytes, at)} << 16 | network_word(bytes, at + 2);
}

void set_network_long(std::span<std::uint8_t> bytes, std::size_t at, std::uint32_t value) {
  set_network_word(bytes, at, static_cast<std::uint16_t>(value >> 16));
  set_network_word(bytes, at + 2, static_cast<std::uint16_t>(value));
}

std::uint16_t internet_sum(ByteView bytes, std::uint32_t start) {
  std::uint64_t sum = start;
  std::size_t at = 0;
  for (; at + 1 < bytes.size(); at += 2) sum += std::uint32_t{bytes[at]} << 8 | bytes[at + 1];
  if (at < bytes.size()) sum += std::uint32_t{bytes[at]} << 8;
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

}  // namespace chronovisor
