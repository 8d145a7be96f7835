// The log of sent frames: what it holds, and how packets of both directions are counted.
#include "recorder/format/frame_log.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"
#include "tests/recorder/sample_recording.h"

namespace chronovisor {
namespace {

using namespace chronovisor::testing;

SentFrame sent(std::uint64_t steps, std::uint64_t idle_ns, std::uint16_t card,
               std::uint64_t received, ByteView frame) {
  return {{steps},
          idle_ns,
          card,
          received,
          static_cast<std::uint32_t>(frame.size()),
          frame_digest(frame)};
}

/// "r0@5 s1@7": what came to and went from which card, and where.
std::string packets_of(const RecordingReader& reader) {
  std::string text;
  PacketCursor packets(reader);
  std::uint64_t number = 0;
  while (const auto packet = packets.next()) {
    CHECK(packet->place.number == ++number);
    text += (text.empty() ? "" : " ") + std::string(packet->sent != nullptr ? "s" : "r") +
            std::to_string(packet->place.card) + "@" + std::to_string(packet->place.position.steps);
  }
  return text;
}

Bytes recording_with_packets() {
  auto file = std::make_unique<MemoryOutputFile>();
  const std::shared_ptr<const Bytes> bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), StartCondition{}.to_json());
  write_checkpoint(writer, 0, {}, {{{1, 11}}});
  writer.sent_frame({5}, 0, 0, as_bytes("first"));
  writer.input({{5}, 0, InputKind::network_frame, 0, {1, 2, 3}});
  writer.sent_frame({5}, 0, 1, as_bytes("second"));
  writer.input({{5}, 10, InputKind::wakeup, 0, wakeup_payload(20)});
  write_checkpoint(writer, 1000, 0, {{{1, 12}}});
  writer.input({{1009}, 20, InputKind::network_frame, 1, {4}});
  writer.flush();
  writer.sent_frame({1009}, 30, 0, as_bytes("third"));
  writer.advance_to({2000});
  writer.finish("{}");
  return *bytes;
}

std::unique_ptr<RecordingReader> rewritten(const std::vector<const RecordingReader*>& sources,
                                           const RewriteOptions& options) {
  auto file = std::make_unique<MemoryOutputFile>();
  const std::shared_ptr<const Bytes> bytes = file->bytes();
  rewrite_recording(sources, std::move(file), options);
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

}  // namespace

TEST_CASE("a chunk of sent frames comes back as it was") {
  FrameLogEncoder encoder;
  encoder.begin({100});
  const std::vector<SentFrame> frames{sent(100, 0, 0, 0, as_bytes("one")),
                                      sent(100, 50, 3, 7, as_bytes("two")),
                                      sent(2'000'000'000, 50, 0, 7, as_bytes("three"))};
  for (const SentFrame& frame : frames) encoder.add(frame);
  const FrameChunk chunk = decode_frame_chunk(encoder.take({3'000'000'000}), "test");
  CHECK(chunk.from == Position{100});
  CHECK(chunk.complete_to == Position{3'000'000'000});
  CHECK(chunk.sent == 0);
  CHECK(chunk.frames == frames);

  const SentFrame later = sent(3'000'000'001, 60, 1, 8, as_bytes("four"));
  encoder.add(later);
  const FrameChunk next = decode_frame_chunk(encoder.take({3'000'000'001}), "test");
  CHECK(next.from == Position{3'000'000'000});
  CHECK(next.sent == 3);
  CHECK(next.frames == std::vector{later});
}

TEST_CASE("what no encoder writes is refused") {
  FrameLogEncoder encoder;
  encoder.add(sent(5, 0, 0, 0, as_bytes("a frame")));
  const Bytes good = encoder.take({10});
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_THROWS_AS((void)decode_frame_chunk(ByteView(good).first(size), "test"), Error);
  }
  Bytes longer = good;
  longer.push_back(0);
  CHECK_THROWS_AS((void)decode_frame_chunk(longer, "test"), Error);
  Bytes many = good;
  many[5] = 0x7f;  // the count
  CHECK_THROWS_AS((void)decode_frame_chunk(many, "test"), Error);
}

TEST_CASE("packets are counted over both directions, in their order, and found by number") {
  const Bytes bytes = recording_with_packets();
  const RecordingReader reader(std::make_shared<MemoryInputFile>(bytes));
  CHECK(packets_of(reader) == "s0@5 r0@5 s1@5 r1@1009 s0@1009");
  CHECK(find_packet(reader, 4)->position == Position{1009});
  CHECK(find_packet(reader, 4)->direction == PacketPlace::Direction::received);
  CHECK(find_packet(reader, 5)->idle_ns == 30);
  CHECK_FALSE(find_packet(reader, 6));
  CHECK_FALSE(find_packet(reader, 0));
  FrameCursor cursor(reader, {6});
  REQUIRE(cursor.peek() != nullptr);
  CHECK(cursor.peek()->position == Position{1009});
  CHECK(cursor.sent_before() == 2);
  cursor.pop();
  CHECK(cursor.peek() == nullptr);
  CHECK(cursor.complete_to() == Position{2000});
}

TEST_CASE("packets are found by number and by place without a walk from the start") {
  for (const bool together : {false, true}) {
    CAPTURE(together);
    auto file = std::make_unique<MemoryOutputFile>();
    const std::shared_ptr<const Bytes> bytes = file->bytes();
    RecordingWriter writer(std::move(file), test_id(), StartCondition{}.to_json());
    for (std::uint64_t n = 0; n < 300; ++n) {
      const std::uint64_t at = 100 * n;
      if (n % 3 != 1) writer.input({{at + 10}, 0, InputKind::network_frame, 0, {1, 2, 3}});
      if (n % 5 != 2) writer.sent_frame({at + (together ? 10 : 20)}, 0, 0, as_bytes("a frame"));
      if (n % 7 == 3) writer.sent_frame({at + 20}, 0, 1, as_bytes("another"));
      if (n % 7 == 3) writer.sent_frame({at + 20}, 0, 1, as_bytes("and one more"));
      writer.advance_to({at + 50});
      if (n % 4 == 0) writer.flush();
    }
    writer.finish("{}");
    const RecordingReader reader(std::make_shared<MemoryInputFile>(*bytes));
    std::vector<PacketPlace> all;
    PacketCursor packets(reader);
    while (const auto packet = packets.next()) all.push_back(packet->place);
    REQUIRE(all.size() > 400);
    const auto same = [](const PacketPlace& a, const PacketPlace& b) {
      return a.number == b.number && a.direction == b.direction && a.position == b.position &&
             a.card == b.card && a.length_bytes == b.length_bytes;
    };
    std::size_t most_skipped = 0;
    for (const PacketPlace& place : all) {
      const auto found = find_packet(reader, place.number);
      REQUIRE(found);
      REQUIRE(same(*found, place));
      for (const std::uint64_t beside : {0, 1}) {
        PacketCursor near(reader, Position{place.position.steps + beside});
        auto packet = near.next();
        if (beside == 0) {
          REQUIRE(packet);
          REQUIRE(packet->place.number <= place.number);
          most_skipped = std::max<std::size_t>(most_skipped, packet->place.number);
        }
        for (; packet; packet = near.next()) {
          REQUIRE(same(packet->place, all[packet->place.number - 1]));
        }
      }
    }
    CHECK(most_skipped > all.size() * 9 / 10);
    CHECK_FALSE(find_packet(reader, all.size() + 1));
  }
}

/// With a bit of the `number`th chunk of sent frames turned.
Bytes with_damaged_frames(std::size_t number) {
  Bytes bytes = recording_with_packets();
  const RecordingReader whole(std::make_shared<MemoryInputFile>(bytes));
  for (const ChunkEntry& chunk : whole.index().chunks) {
    if (chunk.type != static_cast<std::uint32_t>(ChunkType::sent_frames) || number-- != 0) continue;
    bytes[static_cast<std::size_t>(chunk.offset) + kChunkHeaderSize] ^= 1;
  }
  return bytes;
}

TEST_CASE("a damaged chunk of sent frames costs what it held and what comes behind it") {
  // The last chunk is the end's and holds none.
  for (const auto& [number, left] : {std::pair{0, "r0@5 r1@1009"},
                                     {1, "s0@5 r0@5 s1@5 r1@1009"},
                                     {2, "s0@5 r0@5 s1@5 r1@1009 s0@1009"}}) {
    CAPTURE(number);
    const RecordingReader reader(
        std::make_shared<MemoryInputFile>(with_damaged_frames(static_cast<std::size_t>(number))));
    REQUIRE(reader.frame_chunks() == 3);
    CHECK_THROWS_AS((void)reader.read_frames(static_cast<std::size_t>(number)), Error);
    CHECK(packets_of(reader) == left);
    // Whoever begins in a whole one misses nothing.
    CHECK((FrameCursor(reader, {3}).peek() != nullptr) == (number != 0));
    CHECK((FrameCursor(reader, {1000}).peek() != nullptr) == (number != 1));
  }
}

TEST_CASE("packets survive packing, and a part of a recording counts its own") {
  const RecordingReader whole(std::make_shared<MemoryInputFile>(recording_with_packets()));
  CHECK(packets_of(*rewritten({&whole}, {})) == packets_of(whole));

  RewriteOptions second;
  second.from = Position{1000};
  const auto end = rewritten({&whole}, second);
  CHECK(end->start() == Position{1000});
  CHECK(packets_of(*end) == "r1@1009 s0@1009");
  RewriteOptions first;
  first.to = Position{1000};
  const auto begin = rewritten({&whole}, first);
  CHECK(packets_of(*begin) == "s0@5 r0@5 s1@5");
  CHECK(packets_of(*rewritten({begin.get(), end.get()}, {})) == packets_of(whole));
}

}  // namespace chronovisor
