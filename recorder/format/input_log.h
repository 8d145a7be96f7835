// Owns the input log: what came into the guest from outside, each with the
// stamp at which it was taken, packed into a few bytes an event. Knows nothing
// of files or devices. Values; any thread. One encoder belongs to one thread.
//
// The payload of an input log chunk (varint is LEB128, at most ten bytes):
//
//   varint from              the log is complete from this position ...
//   varint complete_to-from  ... and no input before complete_to is missing
//   varint idle_ns           the base of the first event's idle_ns
//   varint count
//   count times:
//     u8     tag             bits 0..4 kind; 5: idle_ns grows; 6: device is
//                            not 0; 7: the payload length is written out
//     varint steps since the event before (the first: since `from`)
//     varint growth of idle_ns            with bit 5
//     varint device                       with bit 6
//     varint payload length               with bit 7
//     payload                without bit 7: 1 byte for serial_byte, a varint
//                            (new idle_ns - idle_ns) for wakeup and clock,
//                            else none
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/machine/input.h"

namespace chronovisor {

/// Whether this version knows the number of an input's kind.
[[nodiscard]] bool is_input_kind(std::uint8_t kind);
[[nodiscard]] const char* input_kind_name(InputKind kind);

struct InputEvent {
  /// Where the input was taken, and where replay delivers it.
  Position position;
  /// Virtual idle time accumulated at the stamp, before this input.
  std::uint64_t idle_ns = 0;
  InputKind kind = InputKind::serial_byte;
  /// Which of several devices of the kind.
  std::uint16_t device = 0;
  /// Of a wakeup or clock: the new idle time, u64 little-endian (see wakeup_payload).
  Bytes payload;
  bool operator==(const InputEvent&) const = default;
};

/// The payload of a wakeup (or a clock) that ends with `idle_ns` of accumulated idle time.
[[nodiscard]] Bytes wakeup_payload(std::uint64_t idle_ns);
/// The new idle time in ns. Throws Error{bad_input} when `event` is no sound
/// wakeup or clock.
[[nodiscard]] std::uint64_t wakeup_idle_ns(const InputEvent& event);

inline constexpr std::size_t kMaxInputPayload = 1u << 16;
inline constexpr std::size_t kMaxInputsPerChunk = 1u << 16;

/// What one input log chunk holds.
struct InputChunk {
  Position from;
  /// Every input taken before this position is in this chunk or an earlier
  /// one. Inputs at exactly this position may be, too.
  Position complete_to;
  std::vector<InputEvent> events;
};

class InputLogEncoder {
 public:
  /// Starts a chunk that covers positions from `from`.
  void begin(Position from);
  /// Events never go back, in position or idle time, and fit the limits.
  void add(const InputEvent& event);
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t size_bytes() const { return events_.size(); }
  [[nodiscard]] Position from() const { return from_; }
  /// The position of the last event, or `from`.
  [[nodiscard]] Position last() const { return last_; }
  /// The chunk's payload. `complete_to` is at or after the last event. Call
  /// begin before the next add.
  [[nodiscard]] Bytes finish(Position complete_to);

 private:
  ByteWriter events_;
  Position from_;
  Position last_;
  std::uint64_t base_idle_ns_ = 0;
  std::uint64_t idle_ns_ = 0;
  std::size_t count_ = 0;
};

/// Throws Error{bad_input}, beginning with `what`, for anything an encoder
/// would not have written within the limits.
[[nodiscard]] InputChunk decode_input_chunk(ByteView payload, std::string_view what);

}  // namespace chronovisor
