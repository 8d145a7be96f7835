// Owns the log of a run whose positions are not known: each event with the place
// where it was taken as performance counters tell it, since the event before.
// Knows nothing of files or devices. Values; any thread. One encoder belongs to
// one thread.
//
// The payload of a counted log chunk (varint is LEB128, at most ten bytes):
//
//   varint first             how many events are in the chunks before it
//   varint idle_ns           the base of the first event's idle_ns
//   u8     trust             bit 0: branches are exact; 1: instructions are; else 0
//   varint count
//   count times:
//     u8     tag             bits 0..4 kind, or 0: the run ends here; 5: idle_ns
//                            grows; 6: device is not 0; 7: a payload follows
//     varint branches        with bit 0 of trust
//     varint instructions    with bit 1 of trust
//     varint rip
//     varint rcx
//     u64    registers
//     varint growth of idle_ns            with bit 5
//     varint device                       with bit 6
//     varint payload length, payload      with bit 7
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/machine/input.h"

namespace chronovisor {

struct CountedEvent {
  /// Counts since the event before, or since the start. Those that are not
  /// trusted are 0 in a log.
  CountedPlace place;
  std::uint64_t idle_ns = 0;  ///< accumulated virtual idle time, before this event
  bool ends_run = false;      ///< nothing is delivered: the recording ends here
  InputKind kind = InputKind::serial_byte;
  std::uint16_t device = 0;
  Bytes payload;
  bool operator==(const CountedEvent&) const = default;
};

struct CountedChunk {
  std::uint64_t first = 0;
  CounterTrust trust;
  std::vector<CountedEvent> events;
};

class CountedLogEncoder {
 public:
  /// Idle time never goes back; payloads fit the limits of the input log. Events
  /// of one chunk have one trust.
  void add(const CountedEvent& event, const CounterTrust& trust);
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t size_bytes() const { return events_.size(); }
  /// The chunk's payload; a new one begins.
  [[nodiscard]] Bytes take();

 private:
  ByteWriter events_;
  CounterTrust trust_;
  std::uint64_t first_ = 0;
  std::uint64_t base_idle_ns_ = 0;
  std::uint64_t idle_ns_ = 0;
  std::size_t count_ = 0;
};

/// Throws Error{bad_input}, beginning with `what`, for anything an encoder would
/// not have written within the limits.
[[nodiscard]] CountedChunk decode_counted_chunk(ByteView payload, std::string_view what);

}  // namespace chronovisor
