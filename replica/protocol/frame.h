// Owns the frame around every message: how it is found in a stream of bytes, and that it is
// whole, the next one, and of this session. Whoever sends the bytes may be hostile. Knows no
// socket. One thread.
//
//    0  4  magic "CVR" 0x1a
//    4  2  type of the message (message.h)
//    6  2  zero
//    8  4  payload length in bytes, at most 256 KiB
//   12  4  zero
//   16  8  sequence number of this direction: 0, 1, 2 ... without gaps
//   24  8  session tag: XXH3-64 of the session's 16 bytes; 0 in a hello and with arbiters
//   32  8  XXH3-64 of the payload
//   40  8  XXH3-64 of bytes 0..39
//   48     payload
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "replica/protocol/identity.h"
#include "replica/protocol/message.h"

namespace chronovisor::replica {

inline constexpr std::array<std::uint8_t, 4> kFrameMagic = {'C', 'V', 'R', 0x1a};
inline constexpr std::size_t kFrameHeaderSize = 48;

[[nodiscard]] std::uint64_t session_tag(const SessionId& session);

class FrameWriter {
 public:
  /// What comes after the greeting belongs to a session.
  void set_session(const SessionId& session) { tag_ = session_tag(session); }
  /// Appends the next frame.
  void write(const Message& message, Bytes& out);

 private:
  std::uint64_t next_ = 0;
  std::uint64_t tag_ = 0;
};

class FrameReader {
 public:
  void set_session(const SessionId& session) { tag_ = session_tag(session); }
  void add(ByteView bytes) { incoming_.insert(incoming_.end(), bytes.begin(), bytes.end()); }
  /// The next message, once all of it has come; a frame that comes again is passed over.
  /// Throws Error{bad_input} for whatever else is not the next frame of this session; the
  /// connection is then of no more use.
  [[nodiscard]] std::optional<Message> next();

 private:
  [[nodiscard]] std::optional<Message> take_frame(bool& again);

  Bytes incoming_;
  std::size_t from_ = 0;
  std::uint64_t next_ = 0;
  std::uint64_t tag_ = 0;
};

}  // namespace chronovisor::replica
