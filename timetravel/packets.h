// Owns the walk over the packets of a recording with the bytes of all of them: received
// ones are in its log, sent ones a replay makes again, compared with their digests. Knows
// no format. One thread.
#pragma once

#include <cstdint>
#include <functional>

#include "base/cancel.h"
#include "recorder/format/frame_cursor.h"

namespace chronovisor {

struct WholePacket {
  PacketPlace place;
  ByteView bytes;  ///< valid during the call; empty where no replay leads to it
};

struct PacketWalk {
  Position from;        ///< packets from here on
  Position to{kNever};  ///< ... that came or went before this
  CancelToken cancel{};
  std::function<void(Position)> progress{};  ///< may be empty
};

/// Shows the packets in their order; `visit` ends the walk with false. Where something
/// was sent the recording is replayed from the checkpoint before. Throws DivergenceError,
/// Error{bad_input}, and Error{host} when cancelled.
void for_each_packet(const RecordingReader& reader, const PacketWalk& walk,
                     const std::function<bool(const WholePacket&)>& visit);

}  // namespace chronovisor
