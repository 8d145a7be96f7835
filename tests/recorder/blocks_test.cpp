// The blocks of disks in a recording: found again, there before they are needed, whole or
// refused.
#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/recorded_media.h"
#include "tests/patience.h"
#include "tests/recorder/sample_recording.h"

namespace chronovisor {
namespace {

using namespace chronovisor::testing;

using Content = std::array<std::uint8_t, kBlockBytes>;

/// Blocks read at some positions, among inputs.
struct Written {
  std::shared_ptr<const Bytes> bytes;
  Written() {
    auto file = std::make_unique<MemoryOutputFile>();
    bytes = file->bytes();
    RecordingWriter writer(std::move(file), test_id(), "{}");
    writer.block(0, 3, test_page(1));
    writer.advance_to(Position{100});
    writer.flush();
    writer.block(0, 4, test_page(2));
    writer.block(1, 4, test_page(1));  // a content that is there
    writer.block(0, 3, test_page(1));  // a block that is there
    writer.input(serial_input(150, 0, 'a'));
    writer.advance_to(Position{200});
    writer.flush();
    writer.block(0, 9, std::nullopt);
    writer.block(0, 10, test_page(0));
    for (std::uint64_t n = 0; n < 600; ++n) writer.block(2, n, test_page(1000 + n));
    writer.advance_to(Position{300});
    writer.finish(R"({})");
  }
};

std::unique_ptr<RecordingReader> open(const Bytes& bytes) {
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(bytes));
}

}  // namespace

TEST_CASE("blocks are found again by medium and number, each content kept once") {
  const Written written;
  const auto reader = open(*written.bytes);
  Content content{};
  CHECK(reader->read_block(0, 3, content) == BlockKind::kept);
  CHECK(ByteView(content)[100] == 1);
  CHECK(reader->read_block(1, 4, content) == BlockKind::kept);
  CHECK(ByteView(content)[100] == 1);
  CHECK(reader->read_block(0, 4, content) == BlockKind::kept);
  CHECK(ByteView(content)[100] == 2);
  CHECK(reader->read_block(0, 9, content) == BlockKind::unreadable);
  CHECK(reader->read_block(0, 10, content) == BlockKind::zeros);
  CHECK_FALSE(reader->read_block(0, 5, content).has_value());
  CHECK_FALSE(reader->read_block(3, 3, content).has_value());
  for (std::uint64_t n = 600; n-- > 0;) {
    REQUIRE(reader->read_block(2, n, content) == BlockKind::kept);
    REQUIRE(hash128(content) == hash128(test_page(1000 + n)));
  }
  CHECK(reader->block_entries().size() == 605);
  CHECK(reader->block_entries_to(Position{99}).size() == 1);
  std::uint64_t raw = 0;
  for (const TypeSize& size : reader->sizes())
    raw += size.type == "block data" ? size.raw_bytes : 0;
  CHECK(raw == 602 * kBlockBytes);
  CHECK(reader->verify_bytes().empty());
}

TEST_CASE("wherever a recorder is killed, a block is there before its use can be replayed") {
  const Written written;
  for (std::size_t size = kFileHeaderSize + 100; size < written.bytes->size(); size += 7) {
    std::unique_ptr<RecordingReader> reader;
    try {
      reader = open({written.bytes->begin(), written.bytes->begin() + static_cast<long>(size)});
    } catch (const Error&) {
      continue;  // the metadata is not whole
    }
    Content content{};
    CAPTURE(size);
    if (reader->usable_to() >= Position{100}) REQUIRE(reader->read_block(0, 3, content));
    if (reader->usable_to() >= Position{200}) REQUIRE(reader->read_block(1, 4, content));
    if (reader->usable_to() >= Position{300}) REQUIRE(reader->read_block(2, 599, content));
  }
}

TEST_CASE("a damaged chunk of blocks is found, and no other content is taken for it") {
  const Written written;
  const auto reader = open(*written.bytes);
  for (const ChunkEntry& chunk : reader->index().chunks) {
    const bool data = chunk.type == static_cast<std::uint32_t>(ChunkType::block_data);
    if (!data && chunk.type != static_cast<std::uint32_t>(ChunkType::block_directory)) continue;
    for (std::uint64_t at = 0; at < kChunkHeaderSize + chunk.stored_length; at += 11 * every(7)) {
      Bytes damaged = *written.bytes;
      damaged[chunk.offset + at] ^= 0x10;
      const auto other = open(damaged);
      CAPTURE(at);
      REQUIRE_FALSE(other->verify_bytes().empty());
      REQUIRE(other->verify_bytes().front().usable_to < Position{300});
      Content content{};
      for (std::uint64_t n = 0; n < 600; n += 50) {
        try {
          if (other->read_block(2, n, content)) {
            REQUIRE(hash128(content) == hash128(test_page(1000 + n)));
          }
        } catch (const Error& error) {
          REQUIRE(error.code() == ErrorCode::bad_input);
        }
      }
    }
  }
}

TEST_CASE("a block that is another one when it is read again ends the recording") {
  for (const bool readable : {true, false}) {
    RecordingWriter writer(std::make_unique<MemoryOutputFile>(), test_id(), "{}");
    writer.block(0, 3, test_page(1));
    const Bytes other = test_page(2);
    CHECK_THROWS_WITH_AS(
        writer.block(0, 3, readable ? std::optional<ByteView>(other) : std::nullopt),
        doctest::Contains("block 3 of disk0"), Error);
    CHECK_THROWS_AS(writer.flush(), Error);
  }
}

TEST_CASE("a writer remembers a bounded number of contents, and of every block what it was") {
  constexpr std::uint64_t kMost = 100;
  constexpr std::uint64_t kBlocks = 3000;
  BlockLog log(kMost);
  std::vector<BlockEntry> entries;
  std::uint64_t chunks = 0;
  const auto write = [&] {
    for (const BlockEntry& entry : decode_block_directory(log.take_directory(chunks++), "a test")) {
      entries.push_back(entry);
    }
  };
  for (std::uint64_t n = 0; n < kBlocks; ++n) {
    REQUIRE(log.add(1, n * 7, test_page(1 + n)) == BlockLog::Added::fresh);
    REQUIRE(log.add(2, n, test_page(1)) == BlockLog::Added::fresh);  // in use all the time
    if (n % 10 == 9) write();
    REQUIRE(log.remembered_contents() <= 2 * kMost + 20);
  }
  // The one in use was kept once.
  for (const BlockEntry& entry : entries) {
    if (entry.medium == 2) REQUIRE((entry.sequence == 0 && entry.index == 0));
  }
  // One that is forgotten is kept again; one that is not is referred to.
  CHECK_FALSE(log.place_of(hash128(test_page(5))));
  CHECK(log.add(3, 0, test_page(5)) == BlockLog::Added::fresh);
  CHECK(log.data().size() == kBlockBytes);
  CHECK(log.place_of(hash128(test_page(kBlocks))));
  CHECK(log.add(3, 1, test_page(kBlocks)) == BlockLog::Added::fresh);
  CHECK(log.data().size() == kBlockBytes);
  write();
  CHECK(entries.back().sequence == (kBlocks - 1) / 10);
  // What a block was is never forgotten.
  for (std::uint64_t n = 0; n < kBlocks; n += 17) {
    REQUIRE(log.add(1, n * 7, test_page(1 + n)) == BlockLog::Added::known);
    REQUIRE(log.add(1, n * 7, test_page(2 + n)) == BlockLog::Added::contradicts);
    REQUIRE(log.add(1, n * 7, std::nullopt) == BlockLog::Added::contradicts);
    REQUIRE(log.add(1, n * 7, test_page(0)) == BlockLog::Added::contradicts);
  }
  CHECK(log.add(4, 9, test_page(0)) == BlockLog::Added::fresh);
  CHECK(log.add(4, 9, test_page(0)) == BlockLog::Added::known);
  CHECK(log.add(4, 10, std::nullopt) == BlockLog::Added::fresh);
  CHECK(log.add(4, 10, std::nullopt) == BlockLog::Added::known);
  CHECK(log.add(4, 10, test_page(0)) == BlockLog::Added::contradicts);
}

TEST_CASE("a block that is told of twice is what was told first, and what is kept is counted") {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  {
    RecordingWriter writer(std::move(file), test_id(), "{}");
    for (std::uint64_t n = 0; n < 900; ++n) {
      writer.block(0, (n * 577) % 900, test_page(1 + (n * 577) % 900));
      if (n % 100 == 99) writer.flush();
    }
    writer.finish(R"({})");
  }
  const auto reader = open(*bytes);
  const std::size_t before = reader->cache_bytes();
  Content content{};
  for (std::uint64_t n = 0; n < 900; ++n) {
    REQUIRE(reader->read_block(0, n, content) == BlockKind::kept);
    REQUIRE(hash128(content) == hash128(test_page(1 + n)));
  }
  CHECK(reader->cache_bytes() >= before + 900 * kBlockBytes);
}

TEST_CASE("a replay is given what was read, and nothing else") {
  const Written written;
  const auto reader = open(*written.bytes);
  RecordedMedia media(*reader);
  Content content{};
  CHECK(media.read_block(0, 4, content));
  CHECK_FALSE(media.read_block(0, 9, content));
  CHECK_THROWS_WITH_AS((void)media.read_block(0, 77, content),
                       doctest::Contains("block 77 of disk0 was not read"), Error);
}

TEST_CASE("a copy and a part of a recording have the blocks that they need") {
  const Written written;
  const auto reader = open(*written.bytes);
  const RecordingReader* const sources[] = {reader.get()};
  const auto rewritten = [&](Position to) {
    auto file = std::make_unique<MemoryOutputFile>();
    const auto bytes = file->bytes();
    RewriteOptions options;
    options.to = to;
    (void)rewrite_recording(sources, std::move(file), options);
    return open(*bytes);
  };
  Content content{};
  CHECK(rewritten({kNever})->block_entries().size() == 605);
  const auto part = rewritten(Position{120});
  CHECK(part->read_block(0, 3, content));
  CHECK_FALSE(part->read_block(2, 599, content).has_value());
}

}  // namespace chronovisor
