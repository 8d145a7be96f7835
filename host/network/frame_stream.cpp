#include "host/network/frame_stream.h"

#include <string>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::size_t kLengthBytes = 4;

}  // namespace

std::optional<Bytes> FrameStreamReader::next() {
  if (pending() < kLengthBytes) return std::nullopt;
  const std::uint8_t* at = pending_.data() + used_;
  const std::size_t length =
      std::size_t{at[0]} << 24 | std::size_t{at[1]} << 16 | std::size_t{at[2]} << 8 | at[3];
  if (length > kLongestStreamFrame) {
    throw Error(ErrorCode::bad_input, "the peer announces a frame of " + std::to_string(length) +
                                          " bytes; at most 65536 is possible");
  }
  if (pending() < kLengthBytes + length) {
    if (used_ > 0) {
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(used_));
      used_ = 0;
    }
    return std::nullopt;
  }
  Bytes frame(at + kLengthBytes, at + kLengthBytes + length);
  used_ += kLengthBytes + length;
  return frame;
}

void append_frame(Bytes& stream, ByteView frame) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    stream.push_back(static_cast<std::uint8_t>(frame.size() >> shift));
  }
  stream.insert(stream.end(), frame.begin(), frame.end());
}

}  // namespace chronovisor
