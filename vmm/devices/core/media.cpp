#include "vmm/devices/core/media.h"

namespace chronovisor {
namespace {

constexpr std::size_t kFixedBytes = 13;
constexpr std::uint8_t kForced = 1;

template <class T>
T integer_at(ByteView bytes, std::size_t at) {
  T value = 0;
  for (std::size_t n = sizeof(T); n-- > 0;) value = static_cast<T>(value << 8 | bytes[at + n]);
  return value;
}

}  // namespace

Bytes encode_medium_change(const MediumChange& change) {
  ByteWriter out;
  out.integer(change.medium);
  out.integer(change.size_bytes);
  out.integer(static_cast<std::uint8_t>(change.forced ? kForced : 0));
  out.bytes(as_bytes(change.name));
  return out.take();
}

std::optional<MediumChange> decode_medium_change(ByteView payload) {
  if (payload.size() < kFixedBytes) return std::nullopt;
  MediumChange change;
  change.medium = integer_at<std::uint32_t>(payload, 0);
  change.size_bytes = integer_at<std::uint64_t>(payload, 4);
  change.forced = (payload[12] & kForced) != 0;
  change.name.assign(payload.begin() + kFixedBytes, payload.end());
  return change;
}

}  // namespace chronovisor
