#include "gdbstub/wire.h"

#include <doctest/doctest.h>

#include "gdbstub/text.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {

std::vector<WireEvent> decode(std::string_view bytes,
                              ChecksumPolicy policy = ChecksumPolicy::verify) {
  WireDecoder decoder;
  decoder.set_checksum_policy(policy);
  std::vector<WireEvent> events;
  decoder.feed(as_bytes(bytes), events);
  return events;
}

}  // namespace

TEST_CASE("a packet with the right checksum is delivered") {
  const auto events = decode("$m1000,4#8e");
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == WireEventKind::packet);
  CHECK(events[0].payload == "m1000,4");
}

TEST_CASE("an empty packet is a packet") {
  const auto events = decode("$#00");
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == WireEventKind::packet);
  CHECK(events[0].payload.empty());
}

TEST_CASE("upper-case checksum digits are read") {
  REQUIRE(decode("$m1000,4#8E").size() == 1);
  CHECK(decode("$m1000,4#8E")[0].kind == WireEventKind::packet);
}

TEST_CASE("a wrong, unreadable or half-escaped packet is bad") {
  for (const char* text : {"$m1000,4#8f", "$m1000,4#zz", "$m1000,4#8z", "$a}#de"}) {
    CAPTURE(text);
    const auto events = decode(text);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == WireEventKind::bad);
  }
}

TEST_CASE("without verification only the digits must be digits") {
  CHECK(decode("$g#00", ChecksumPolicy::ignore)[0].kind == WireEventKind::packet);
  CHECK(decode("$g#0x", ChecksumPolicy::ignore)[0].kind == WireEventKind::bad);
}

TEST_CASE("acknowledgements, interrupts and noise between packets are told apart") {
  const auto events = decode("+-\x03junk$g#67+");
  REQUIRE(events.size() == 6);
  CHECK(events[0].kind == WireEventKind::ack);
  CHECK(events[1].kind == WireEventKind::nack);
  CHECK(events[2].kind == WireEventKind::interrupt);
  CHECK(events[3].kind == WireEventKind::noise);
  CHECK(events[4].kind == WireEventKind::packet);
  CHECK(events[5].kind == WireEventKind::ack);
}

TEST_CASE("byte 3 inside a packet is data") {
  const auto events = decode("$\x03#03");
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == WireEventKind::packet);
  CHECK(events[0].payload == "\x03");
}

TEST_CASE("a packet that begins within another replaces it") {
  const auto events = decode("$lost$g#67");
  REQUIRE(events.size() == 1);
  CHECK(events[0].payload == "g");
}

TEST_CASE("every byte value survives framing and decoding") {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const auto events = decode(frame_packet(all));
  REQUIRE(events.size() == 1);
  CHECK(events[0].payload == all);
  CHECK(frame_packet("$#}*") == "$}\x04}\x03}]}\x0a#62");
}

TEST_CASE("a stream cut at every byte gives the same events") {
  const std::string stream =
      "+$m1000,4#8e\x03-$X0,2:}]}\x03#"
      "43$bad#00";
  const auto whole = decode(stream);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    CAPTURE(cut);
    WireDecoder decoder;
    std::vector<WireEvent> events;
    decoder.feed(as_bytes(stream).first(cut), events);
    decoder.feed(as_bytes(stream).subspan(cut), events);
    REQUIRE(events.size() == whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      CHECK(events[i].kind == whole[i].kind);
      CHECK(events[i].payload == whole[i].payload);
    }
  }
}

TEST_CASE("a packet of the largest size passes and one byte more is skipped") {
  const std::string largest(kMaxPacketBytes, 'a');
  const auto passed = decode(frame_packet(largest));
  REQUIRE(passed.size() == 1);
  CHECK(passed[0].kind == WireEventKind::packet);
  CHECK(passed[0].payload == largest);

  const auto skipped = decode(frame_packet(largest + "a") + "$g#67");
  REQUIRE(skipped.size() == 2);
  CHECK(skipped[0].kind == WireEventKind::oversized);
  CHECK(skipped[1].payload == "g");
}

TEST_CASE("runs are shortened as the protocol allows, never with a reserved count") {
  CHECK(frame_packet("0000", RunLength::on) == "$0* #7a");
  CHECK(frame_packet("000", RunLength::on) == "$000#90");
  // 7 and 8 characters would need the counts '#' and '$'.
  CHECK(frame_packet("0000000", RunLength::on) == "$0*\"0#ac");
  CHECK(frame_packet("00000000", RunLength::on) == "$0*\"00#dc");
  for (std::size_t length = 1; length < 300; ++length) {
    const std::string framed = frame_packet(std::string(length, '0'), RunLength::on);
    std::string expanded;
    for (std::size_t i = 1; framed[i] != '#'; ++i) {
      if (framed[i] != '*') {
        expanded.push_back(framed[i]);
        continue;
      }
      const char count = framed[++i];
      REQUIRE(count >= ' ');
      REQUIRE(count <= '~');
      REQUIRE(std::string_view("#$+-").find(count) == std::string_view::npos);
      expanded.append(static_cast<std::size_t>(count - 29), expanded.back());
    }
    CHECK(expanded == std::string(length, '0'));
  }
}

TEST_CASE("escaped_size counts what framing adds") {
  CHECK(escaped_size("abc") == 3);
  CHECK(escaped_size("a$#}*") == 9);
}
