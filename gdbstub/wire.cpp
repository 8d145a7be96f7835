#include "gdbstub/wire.h"

#include <algorithm>
#include <utility>

#include "gdbstub/text.h"

namespace chronovisor::gdb {

namespace {

constexpr std::uint8_t kInterrupt = 0x03;
constexpr std::uint8_t kEscape = 0x7d;
constexpr std::uint8_t kEscapeMask = 0x20;
// A run is sent as `c*n`: n is a printable character, count = n - 29, where
// count is the number of further copies. Counts of 6 and 7 would be '#', '$'.
constexpr std::size_t kRunBias = 29;
constexpr std::size_t kShortestRun = 3;
constexpr std::size_t kLongestRun = 126 - kRunBias;

bool needs_escape(char c) { return c == '$' || c == '#' || c == '}' || c == '*'; }

std::size_t sendable_run(std::size_t repeats) {
  repeats = std::min(repeats, kLongestRun);
  // '#' and '$' end or start a packet; '+' and '-' are acknowledgements to
  // old clients that look for them anywhere.
  while (repeats >= kShortestRun) {
    const char n = static_cast<char>(repeats + kRunBias);
    if (n != '#' && n != '$' && n != '+' && n != '-') return repeats;
    --repeats;
  }
  return 0;
}

}  // namespace

void WireDecoder::start_packet() {
  state_ = State::payload;
  payload_.clear();
  raw_bytes_ = 0;
  sum_ = 0;
  escaped_ = false;
}

void WireDecoder::between(std::uint8_t byte, std::vector<WireEvent>& events) {
  const bool noisy = std::exchange(noisy_, false);
  switch (byte) {
    case '$':
      start_packet();
      break;
    case '+':
      events.push_back({WireEventKind::ack, {}});
      break;
    case '-':
      events.push_back({WireEventKind::nack, {}});
      break;
    case kInterrupt:
      events.push_back({WireEventKind::interrupt, {}});
      break;
    default:
      if (!noisy) events.push_back({WireEventKind::noise, {}});
      noisy_ = true;
      break;
  }
}

void WireDecoder::in_payload(std::uint8_t byte) {
  if (byte == '#') {
    state_ = State::checksum_high;
    return;
  }
  if (byte == '$') {
    // The end of the packet before was lost: this begins another.
    start_packet();
    return;
  }
  sum_ = static_cast<std::uint8_t>(sum_ + byte);
  if (++raw_bytes_ > kMaxPacketBytes) {
    payload_.clear();
    return;
  }
  if (escaped_) {
    payload_.push_back(static_cast<char>(byte ^ kEscapeMask));
    escaped_ = false;
  } else if (byte == kEscape) {
    escaped_ = true;
  } else {
    payload_.push_back(static_cast<char>(byte));
  }
}

void WireDecoder::finish(std::vector<WireEvent>& events) {
  state_ = State::between;
  const bool readable = checksum_high_ >= 0 && checksum_low_ >= 0 && !escaped_;
  const bool matches = readable && checksum_high_ * 16 + checksum_low_ == sum_;
  if (!readable || (policy_ == ChecksumPolicy::verify && !matches)) {
    events.push_back({WireEventKind::bad, {}});
  } else if (raw_bytes_ > kMaxPacketBytes) {
    events.push_back({WireEventKind::oversized, {}});
  } else {
    events.push_back({WireEventKind::packet, std::move(payload_)});
  }
  payload_ = {};
}

void WireDecoder::feed(ByteView data, std::vector<WireEvent>& events) {
  for (const std::uint8_t byte : data) {
    switch (state_) {
      case State::between:
        between(byte, events);
        break;
      case State::payload:
        in_payload(byte);
        break;
      case State::checksum_high:
        checksum_high_ = hex_digit(static_cast<char>(byte));
        state_ = State::checksum_low;
        break;
      case State::checksum_low:
        checksum_low_ = hex_digit(static_cast<char>(byte));
        finish(events);
        break;
    }
  }
}

std::size_t escaped_size(std::string_view payload) {
  return payload.size() +
         static_cast<std::size_t>(std::count_if(payload.begin(), payload.end(), needs_escape));
}

std::string frame_packet(std::string_view payload, RunLength run_length) {
  std::string out;
  out.reserve(payload.size() + payload.size() / 16 + 4);
  out.push_back('$');
  for (std::size_t i = 0; i < payload.size();) {
    const char c = payload[i++];
    if (needs_escape(c)) {
      out.push_back(static_cast<char>(kEscape));
      out.push_back(static_cast<char>(static_cast<std::uint8_t>(c) ^ kEscapeMask));
      continue;
    }
    out.push_back(c);
    if (run_length == RunLength::off) continue;
    std::size_t repeats = 0;
    while (i + repeats < payload.size() && payload[i + repeats] == c && repeats < kLongestRun) {
      ++repeats;
    }
    repeats = sendable_run(repeats);
    if (repeats > 0) {
      out.push_back('*');
      out.push_back(static_cast<char>(repeats + kRunBias));
      i += repeats;
    }
  }
  std::uint8_t sum = 0;
  for (std::size_t i = 1; i < out.size(); ++i) {
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(out[i]));
  }
  out.push_back('#');
  append_hex(out, ByteView(&sum, 1));
  return out;
}

}  // namespace chronovisor::gdb
