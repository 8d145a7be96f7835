// Owns what a primary and a backup, and a node and an arbiter, say to each other, and the
// bytes of it. Knows no connection and no state of the talk. Values and pure functions; any
// thread.
//
// All integers are little-endian. A payload has exactly the length of its fields.
//
//   1 hello        u32 protocol version, u8 role, u128 node, u128 nonce, u32 behaviour version
//   2 past         bytes of the primary's recording, the next ones
//   3 past end     mark: the recording so far is what was sent
//   4 log          bytes of whole chunks of the recording, the next ones
//   5 mark         mark, u64 outputs released
//   6 protect      u8 whether there is an arbiter, u64 outputs released
//   7 acknowledge  u64 held, u64 executed, u64 position, u64 digest compared
//   8 alive        u64 outputs released
//   9 diverged     u64 position, u128 digest expected, u128 digest found
//  10 yield
//  11 over         u8 whether the guest ended
//  12 live
//  20 claim        u128 session, u128 node
//  21 verdict      u128 session, u128 node that holds it
//
//   mark := u64 number, u64 position, u64 idle_ns, u64 outputs, u64 log bytes
#pragma once

#include <cstdint>
#include <variant>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "replica/protocol/identity.h"

namespace chronovisor::replica {

inline constexpr std::uint32_t kProtocolVersion = 2;
/// The most bytes in one past or log message.
inline constexpr std::size_t kMostPiece = 256U << 10;

enum class Role : std::uint8_t { primary = 1, backup = 2 };

/// A stamp of the run up to which the log is known: no input taken before it is missing.
/// A backup that has it may run to it, and go live there.
struct Mark {
  std::uint64_t number = 0;  ///< 1, 2, 3 ...
  Position position;
  std::uint64_t idle_ns = 0;
  std::uint64_t outputs = 0;    ///< that the guest made before it, since the run began
  std::uint64_t log_bytes = 0;  ///< sent by log messages before it
  bool operator==(const Mark&) const = default;
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  Role role = Role::primary;
  End end;
  std::uint32_t behaviour = 0;  ///< what the machines of this program do
};
struct Past {
  Bytes bytes;
};
struct PastEnd {
  Mark mark;
};
struct Log {
  Bytes bytes;
};
struct Marked {
  Mark mark;
  std::uint64_t released = 0;
};
/// From here on the session counts: the backup may claim it.
struct Protect {
  bool has_arbiter = false;
  std::uint64_t released = 0;
};
struct Acknowledge {
  std::uint64_t held = 0;      ///< number of the last mark whose log is there
  std::uint64_t executed = 0;  ///< number of the last mark that the machine came to
  Position position;           ///< where the machine is
  Position compared;           ///< of the last digest that was equal
};
struct Alive {
  std::uint64_t released = 0;
};
struct Diverged {
  Position position;
  Hash128 expected;
  Hash128 found;
};
/// The primary stands at its last mark, and the backup may claim the session.
struct Yield {};
/// The run is over after the last mark; nobody is to take over.
struct Over {
  bool guest_ended = false;  ///< and so does the backup's, by itself
};
/// The backup went live.
struct Live {};
struct Claim {
  SessionId session;  ///< or a succession
  NodeId node;
};
struct Verdict {
  SessionId session;
  NodeId holder;
};

using Message = std::variant<Hello, Past, PastEnd, Log, Marked, Protect, Acknowledge, Alive,
                             Diverged, Yield, Over, Live, Claim, Verdict>;

/// The number that stands for the type of a message in a frame. Never renumbered.
[[nodiscard]] std::uint16_t message_type(const Message& message);
[[nodiscard]] Bytes encode_payload(const Message& message);
/// Throws Error{bad_input} for a type that is not known, and a payload that is not exactly
/// that of its type.
[[nodiscard]] Message decode_message(std::uint16_t type, ByteView payload);
[[nodiscard]] const char* message_name(const Message& message);

}  // namespace chronovisor::replica
