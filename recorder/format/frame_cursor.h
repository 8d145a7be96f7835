// Owns a walk over the frames that the guest of a recording sent, a chunk at a time.
// Knows no machine. One thread; the reader must outlive it.
#pragma once

#include <cstdint>
#include <optional>

#include "recorder/format/recording_reader.h"

namespace chronovisor {

class FrameCursor {
 public:
  /// Starts at the first frame sent at or after `from`.
  explicit FrameCursor(const RecordingReader& reader, Position from = {});
  /// The next frame; nothing at the end, and where the log has a gap because of damage.
  /// Valid until the next call of pop. Throws Error{bad_input} on damage.
  [[nodiscard]] const SentFrame* peek();
  /// Frames that were sent before it, from the recording's start on.
  [[nodiscard]] std::uint64_t sent_before() const { return chunk_.sent + next_; }
  void pop() { ++next_; }
  /// Where peek() has nothing: no frame is missing that was sent before this.
  [[nodiscard]] Position complete_to() const { return chunk_.complete_to; }

 private:
  [[nodiscard]] bool follows(const FrameChunk& chunk) const;

  const RecordingReader* reader_;  ///< a pointer, so that a cursor can be assigned
  std::size_t next_chunk_ = 0;
  std::size_t next_ = 0;
  FrameChunk chunk_;
};

/// Which packet of a recording, and where it came or went. Packets are the frames of all
/// cards and both directions, counted from 1 at the recording's start, in their order.
struct PacketPlace {
  enum class Direction : std::uint8_t { received, sent };
  std::uint64_t number = 0;
  Direction direction = Direction::received;
  std::uint16_t card = 0;
  Position position;
  std::uint64_t idle_ns = 0;
  std::uint32_t length_bytes = 0;
};

struct PacketCounts {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};

/// Walks all packets of a recording without replaying it: of received ones the bytes are
/// there, of sent ones the digest.
class PacketCursor {
 public:
  explicit PacketCursor(const RecordingReader& reader);
  /// Begins somewhere before all packets at `from` and later ones, near them.
  PacketCursor(const RecordingReader& reader, Position from);
  /// Begins somewhere at or before packet `number`, near it.
  [[nodiscard]] static PacketCursor near(const RecordingReader& reader, std::uint64_t number);
  struct Packet {
    PacketPlace place;
    ByteView received;                ///< its bytes, if it came in; until the next call
    const SentFrame* sent = nullptr;  ///< if it went out
  };
  /// The next one, or nothing. Throws Error{bad_input} on damage.
  [[nodiscard]] std::optional<Packet> next();

 private:
  /// Begins at a frame sent at a position at which none came; nothing: at the start.
  PacketCursor(const RecordingReader& reader, std::optional<Position> frame);

  InputCursor inputs_;
  FrameCursor frames_;
  PacketCounts seen_;
  bool pop_input_ = false;
  bool pop_frame_ = false;
};

/// Where packet `number` came or went; nothing when there are fewer.
[[nodiscard]] std::optional<PacketPlace> find_packet(const RecordingReader& reader,
                                                     std::uint64_t number);

}  // namespace chronovisor
