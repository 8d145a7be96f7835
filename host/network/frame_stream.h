// Owns how frames follow each other on a byte stream, as QEMU has it: four bytes of
// length, big-endian, then the frame. The bytes are a peer's: nothing is believed.
// Knows no socket. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace chronovisor {

/// A longer one is no frame but a peer that speaks something else.
inline constexpr std::size_t kLongestStreamFrame = 65536;

class FrameStreamReader {
 public:
  /// What came from the peer.
  void add(ByteView bytes) { pending_.insert(pending_.end(), bytes.begin(), bytes.end()); }
  /// The next whole frame. Throws Error{bad_input} on a length that no frame has.
  [[nodiscard]] std::optional<Bytes> next();
  /// Bytes that are kept for a frame that is not whole.
  [[nodiscard]] std::size_t pending() const { return pending_.size() - used_; }

 private:
  Bytes pending_;
  std::size_t used_ = 0;
};

/// Adds `frame` to `stream`, with its length.
void append_frame(Bytes& stream, ByteView frame);

}  // namespace chronovisor
