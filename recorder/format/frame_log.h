// Owns the log of the frames that a guest sent: where, by which card, and a digest of
// each, so that a replay that sends another one is told which. The frames themselves a
// replay makes again. Knows nothing of files or devices. Values; any thread. One encoder
// belongs to one thread.
//
// The payload of a sent frames chunk (varint is LEB128, at most ten bytes):
//
//   varint from              no frame sent from this position on is missing ...
//   varint complete_to-from  ... up to this one
//   varint idle_ns           the base of the first frame's idle_ns
//   varint sent, received    frames sent and received before the first, by all cards
//   varint count
//   count times:
//     u8     tag             bit 0: idle_ns grows; 1: the card is not 0; 2: frames were
//                            received since the one before
//     varint steps since the frame before (the first: since `from`)
//     varint growth of idle_ns       with bit 0
//     varint card                    with bit 1
//     varint frames received         with bit 2
//     varint length in bytes
//     u64    XXH3-64 of the frame
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"

namespace chronovisor {

struct SentFrame {
  Position position;          ///< where the machine was when it put it out
  std::uint64_t idle_ns = 0;  ///< virtual idle time there
  std::uint16_t card = 0;
  std::uint64_t received = 0;  ///< frames that had been received before it, by all cards
  std::uint32_t length_bytes = 0;
  std::uint64_t digest = 0;  ///< see frame_digest()
  bool operator==(const SentFrame&) const = default;
};

[[nodiscard]] std::uint64_t frame_digest(ByteView frame);

inline constexpr std::size_t kMostFramesPerChunk = 1U << 16;
/// A record takes no more.
inline constexpr std::size_t kMostFrameRecordBytes = 64;

/// What one chunk holds.
struct FrameChunk {
  Position from;
  Position complete_to;
  std::uint64_t sent = 0;  ///< before the first one here
  std::vector<SentFrame> frames;
};

class FrameLogEncoder {
 public:
  /// Frames never go back, in position, idle time or frames received.
  void add(const SentFrame& frame);
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t size_bytes() const { return frames_.size(); }
  /// The chunk's payload; the next one begins at `complete_to`, which is at or after the
  /// last frame.
  [[nodiscard]] Bytes take(Position complete_to);
  /// Where the first chunk begins.
  void begin(Position from) { from_ = last_.position = from; }

 private:
  ByteWriter frames_;
  Position from_;
  SentFrame base_;  ///< what the first frame counts from
  SentFrame last_;
  std::uint64_t sent_ = 0;  ///< before the chunk
  std::size_t count_ = 0;
};

/// Throws Error{bad_input}, beginning with `what`, for anything an encoder would not have
/// written within the limits.
[[nodiscard]] FrameChunk decode_frame_chunk(ByteView payload, std::string_view what);

}  // namespace chronovisor
