#include "host/network/capture_file.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kMicroseconds = 0xa1b2c3d4;
constexpr std::uint32_t kNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kNextGeneration = 0x0a0d0d0a;
constexpr std::uint32_t kEthernet = 1;
constexpr std::uint32_t kLongest = 262144;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

constexpr std::uint32_t swap_bytes(std::uint32_t value) {
  return value >> 24 | (value >> 8 & 0xff00) | (value << 8 & 0xff0000) | value << 24;
}

}  // namespace

CaptureReader::CaptureReader(ByteView file, std::string_view name) : reader_(file, name) {
  const auto magic = reader_.integer<std::uint32_t>();
  swapped_ = magic == swap_bytes(kMicroseconds) || magic == swap_bytes(kNanoseconds);
  const std::uint32_t kind = swapped_ ? swap_bytes(magic) : magic;
  if (kind == kNextGeneration) {
    reader_.fail("a pcapng capture; \"editcap -F pcap\" makes a pcap file of it");
  }
  if (kind != kMicroseconds && kind != kNanoseconds) reader_.fail("no pcap capture");
  nanoseconds_ = kind == kNanoseconds;
  (void)reader_.bytes(16);  // version, zone, accuracy, snap length: none is needed
  // The link type is in the low 16 bits.
  if ((word() & 0xffff) != kEthernet) reader_.fail("a capture of something else than Ethernet");
}

std::uint32_t CaptureReader::word() {
  const auto value = reader_.integer<std::uint32_t>();
  return swapped_ ? swap_bytes(value) : value;
}

std::optional<CapturedFrame> CaptureReader::next() {
  if (reader_.at_end()) return std::nullopt;
  const std::uint64_t seconds = word();
  const std::uint64_t fraction = word();
  const std::uint32_t stored = word();
  (void)word();  // the length on the wire
  if (stored > kLongest) reader_.fail("a frame of impossible length");
  const std::uint64_t at_ns = seconds * kNsPerSecond + fraction * (nanoseconds_ ? 1 : 1000);
  if (!first_ns_) first_ns_ = at_ns;
  last_ns_ = std::max(last_ns_, at_ns - std::min(at_ns, *first_ns_));
  const ByteView bytes = reader_.bytes(stored);
  return CapturedFrame{last_ns_, Bytes(bytes.begin(), bytes.end())};
}

}  // namespace chronovisor
