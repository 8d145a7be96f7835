#include "recorder/format/input_log.h"

#include <doctest/doctest.h>

#include <random>

#include "base/error.h"

using namespace chronovisor;

namespace {

std::vector<InputEvent> every_kind() {
  std::vector<InputEvent> events;
  std::uint64_t steps = 5;
  for (std::uint8_t kind = 1; kind <= 10; ++kind) {
    for (const std::size_t size : {0, 1, 2, 8, 1500}) {
      InputEvent event;
      event.position.steps = steps += kind * size;
      event.idle_ns = steps * 3;
      event.kind = static_cast<InputKind>(kind);
      event.device = static_cast<std::uint16_t>(size == 2 ? 0xffff : 0);
      event.payload = Bytes(size, kind);
      events.push_back(event);
    }
  }
  return events;
}

Bytes encode(const std::vector<InputEvent>& events, Position from, Position complete_to) {
  InputLogEncoder encoder;
  encoder.begin(from);
  for (const InputEvent& event : events) encoder.add(event);
  return encoder.finish(complete_to);
}

}  // namespace

TEST_CASE("inputs of every kind and payload size come back as they were") {
  const std::vector<InputEvent> events = every_kind();
  const Bytes payload = encode(events, Position{3}, Position{1'000'000});
  const InputChunk chunk = decode_input_chunk(payload, "log");
  CHECK(chunk.from == Position{3});
  CHECK(chunk.complete_to == Position{1'000'000});
  CHECK(chunk.events == events);
}

TEST_CASE("a typed byte costs a few bytes in the log") {
  std::vector<InputEvent> events;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    events.push_back({Position{i * 10'000}, 0, InputKind::serial_byte, 0, {'x'}});
  }
  CHECK(encode(events, {}, Position{10'000'000}).size() <= 4 * 1000 + 16);
}

TEST_CASE("idle time goes on from chunk to chunk") {
  InputLogEncoder encoder;
  encoder.begin({});
  encoder.add({Position{1}, 70, InputKind::wakeup, 0, wakeup_payload(900)});
  const InputChunk first = decode_input_chunk(encoder.finish(Position{2}), "log");
  encoder.begin(Position{2});
  encoder.add({Position{2}, 900, InputKind::key, 0, {1}});
  const InputChunk second = decode_input_chunk(encoder.finish(Position{9}), "log");
  CHECK(wakeup_idle_ns(first.events.at(0)) == 900);
  CHECK(second.events.at(0).idle_ns == 900);
}

TEST_CASE("a clock is written as a wakeup is") {
  for (const InputKind kind : {InputKind::wakeup, InputKind::clock}) {
    InputLogEncoder encoder;
    encoder.begin({});
    encoder.add({Position{1}, 70, kind, 0, wakeup_payload(900)});
    const Bytes payload = encoder.finish(Position{2});
    CHECK(payload.size() == 9);  // four numbers of the chunk; tag, steps, idle, two of 830
    const InputChunk chunk = decode_input_chunk(payload, "log");
    REQUIRE(chunk.events.size() == 1);
    CHECK(chunk.events[0].kind == kind);
    CHECK(wakeup_idle_ns(chunk.events[0]) == 900);
  }
}

TEST_CASE("a wakeup that would turn time back is refused") {
  const InputEvent event{Position{1}, 100, InputKind::wakeup, 0, wakeup_payload(99)};
  CHECK_THROWS_AS((void)wakeup_idle_ns(event), Error);
  const InputChunk chunk = decode_input_chunk(encode({event}, {}, Position{2}), "log");
  CHECK(chunk.events.at(0) == event);
}

TEST_CASE("a damaged input log is an error, never a crash or a large allocation") {
  const Bytes good = encode(every_kind(), Position{3}, Position{1'000'000});
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_THROWS_AS((void)decode_input_chunk(ByteView(good).first(size), "log"), Error);
  }
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bad = good;
    for (int flips = 0; flips < 3; ++flips) {
      bad[random() % 80] ^= static_cast<std::uint8_t>(1u << (random() % 8));
    }
    try {
      const InputChunk chunk = decode_input_chunk(bad, "log");
      CHECK(chunk.events.size() <= kMaxInputsPerChunk);
      Position last = chunk.from;
      for (const InputEvent& event : chunk.events) {
        CHECK(event.position >= last);
        last = event.position;
      }
      CHECK(last <= chunk.complete_to);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_input);
    }
  }
}

TEST_CASE("a count larger than its bytes is refused before anything is reserved") {
  ByteWriter out;
  out.varint(0);
  out.varint(10);
  out.varint(0);
  out.varint(60'000);
  out.bytes(Bytes(100, 1));
  CHECK_THROWS_WITH_AS((void)decode_input_chunk(out.data(), "log"),
                       doctest::Contains("60000 inputs is too large"), Error);
}
