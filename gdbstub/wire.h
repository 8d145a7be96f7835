// Owns the framing of the GDB Remote Serial Protocol: bytes to packets and
// packets to bytes, checksums, escapes, acknowledgements and the interrupt
// byte. Must know neither sockets nor what a packet means. One thread at a time.
// Source: GDB manual, appendix "GDB Remote Serial Protocol", Overview.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace chronovisor::gdb {

/// The most bytes between '$' and '#' in either direction.
inline constexpr std::size_t kMaxPacketBytes = std::size_t{1} << 20;

enum class WireEventKind {
  packet,     ///< a whole packet with the right checksum; `payload` is unescaped
  interrupt,  ///< byte 0x03 between packets
  ack,        ///< '+'
  nack,       ///< '-'
  bad,        ///< a packet with a wrong or unreadable checksum, or a broken escape
  oversized,  ///< a packet of more than kMaxPacketBytes, skipped
  noise,      ///< bytes between packets that mean nothing there
};

struct WireEvent {
  WireEventKind kind = WireEventKind::packet;
  std::string payload;
};

enum class ChecksumPolicy { verify, ignore };

/// Turns a stream, cut anywhere, into events. Holds at most kMaxPacketBytes.
class WireDecoder {
 public:
  /// Appends to `events` whatever `data` completes.
  void feed(ByteView data, std::vector<WireEvent>& events);
  /// Without acknowledgements a bad checksum could not be answered, so it is
  /// not looked at (the digits must still be digits).
  void set_checksum_policy(ChecksumPolicy policy) { policy_ = policy; }

 private:
  enum class State { between, payload, checksum_high, checksum_low };

  void between(std::uint8_t byte, std::vector<WireEvent>& events);
  void in_payload(std::uint8_t byte);
  void finish(std::vector<WireEvent>& events);
  void start_packet();

  State state_ = State::between;
  ChecksumPolicy policy_ = ChecksumPolicy::verify;
  std::string payload_;
  std::size_t raw_bytes_ = 0;
  std::uint8_t sum_ = 0;
  int checksum_high_ = 0;
  int checksum_low_ = 0;
  bool escaped_ = false;
  bool noisy_ = false;  ///< the byte before was noise, which is reported once
};

enum class RunLength { off, on };

/// One framed packet: `$`, the payload with `$ # } *` escaped, `#`, checksum.
/// With RunLength::on, runs of four or more equal characters are shortened as
/// the protocol allows.
std::string frame_packet(std::string_view payload, RunLength run_length = RunLength::off);

/// How many bytes `payload` takes between '$' and '#' once escaped.
std::size_t escaped_size(std::string_view payload);

}  // namespace chronovisor::gdb
