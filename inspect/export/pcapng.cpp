#include "inspect/export/pcapng.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace chronovisor {
namespace {

constexpr std::uint32_t kSection = 0x0a0d0d0a;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kStatistics = 5;
constexpr std::uint32_t kPacket = 6;
constexpr std::uint32_t kByteOrder = 0x1a2b3c4d;
constexpr std::uint16_t kEthernet = 1;

constexpr std::uint16_t kEnd = 0;
constexpr std::uint16_t kComment = 1;
constexpr std::uint16_t kName = 2;
constexpr std::uint16_t kFlags = 2;        // of a packet
constexpr std::uint16_t kReceived = 4;     // of statistics
constexpr std::uint16_t kDropped = 5;      // of statistics
constexpr std::uint16_t kUserProgram = 4;  // of a section
constexpr std::uint16_t kAddress = 6;
constexpr std::uint16_t kResolution = 9;
constexpr std::uint8_t kNanoseconds = 9;  // 10^-9 s
constexpr std::uint32_t kInbound = 1;
constexpr std::uint32_t kOutbound = 2;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

void pad(ByteWriter& out) {
  while (out.data().size() % 4 != 0) out.integer(std::uint8_t{0});
}

void option(ByteWriter& out, std::uint16_t code, ByteView value) {
  out.integer(code);
  out.integer(static_cast<std::uint16_t>(value.size()));
  out.bytes(value);
  pad(out);
}

template <class T>
void number_option(ByteWriter& out, std::uint16_t code, T value) {
  ByteWriter bytes;
  bytes.integer(value);
  option(out, code, bytes.data());
}

void end_of_options(ByteWriter& out) { option(out, kEnd, {}); }

void time(ByteWriter& out, std::uint64_t ns) {
  out.integer(static_cast<std::uint32_t>(ns >> 32));
  out.integer(static_cast<std::uint32_t>(ns));
}

}  // namespace

PcapngWriter::PcapngWriter(const StartCondition& start, CaptureSink out)
    : out_(std::move(out)),
      start_ns_(static_cast<std::uint64_t>(
                    std::max<std::int64_t>(start.machine.rtc_start_unix_seconds, 0)) *
                kNsPerSecond),
      ns_per_step_(start.machine.ns_per_step),
      last_ns_(start_ns_),
      received_(start.machine.cards.size()) {
  ByteWriter section;
  section.integer(kByteOrder);
  section.integer(std::uint16_t{1});  // version 1.0
  section.integer(std::uint16_t{0});
  section.integer(~std::uint64_t{0});  // its length is not said
  option(section, kUserProgram, as_bytes("chronovisor"));
  end_of_options(section);
  block(kSection, std::move(section));
  for (std::size_t n = 0; n < start.machine.cards.size(); ++n) {
    const CardConfig& card = start.machine.cards[n];
    ByteWriter interface;
    interface.integer(kEthernet);
    interface.integer(std::uint16_t{0});
    interface.integer(std::uint32_t{0});  // no limit to a packet's length
    option(interface, kName, as_bytes("net" + std::to_string(n)));
    option(interface, kAddress, card.address);
    number_option(interface, kResolution, kNanoseconds);
    end_of_options(interface);
    block(kInterface, std::move(interface));
  }
}

void PcapngWriter::block(std::uint32_t type, ByteWriter body) {
  constexpr std::size_t kFrameBytes = 12;
  const auto length = static_cast<std::uint32_t>(body.data().size() + kFrameBytes);
  ByteWriter whole;
  whole.integer(type);
  whole.integer(length);
  whole.bytes(body.data());
  whole.integer(length);
  out_(whole.data());
}

std::uint64_t PcapngWriter::time_of(Position position, std::uint64_t idle_ns) const {
  return start_ns_ + position.steps * ns_per_step_ + idle_ns;
}

void PcapngWriter::packet(const WholePacket& packet) {
  const PacketPlace& place = packet.place;
  if (place.card >= received_.size()) return;
  const bool received = place.direction == PacketPlace::Direction::received;
  last_ns_ = time_of(place.position, place.idle_ns);
  ByteWriter body;
  body.integer(std::uint32_t{place.card});
  time(body, last_ns_);
  body.integer(static_cast<std::uint32_t>(packet.bytes.size()));
  body.integer(place.length_bytes);
  body.bytes(packet.bytes);
  pad(body);
  option(body, kComment,
         as_bytes("packet " + std::to_string(place.number) + ", position " +
                  std::to_string(place.position.steps)));
  number_option(body, kFlags, received ? kInbound : kOutbound);
  end_of_options(body);
  block(kPacket, std::move(body));
  if (received) ++received_[place.card];
  ++packets_;
}

void PcapngWriter::finish(const std::vector<std::uint64_t>& dropped) {
  for (std::size_t n = 0; n < received_.size() && n < dropped.size(); ++n) {
    ByteWriter body;
    body.integer(static_cast<std::uint32_t>(n));
    time(body, last_ns_);
    number_option(body, kReceived, received_[n] + dropped[n]);
    number_option(body, kDropped, dropped[n]);
    end_of_options(body);
    block(kStatistics, std::move(body));
  }
}

}  // namespace chronovisor
