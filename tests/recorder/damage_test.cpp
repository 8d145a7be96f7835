#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "tests/patience.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::size_t kFewer = 13;  // odd: each bit of a byte has its turn

/// The chunks of a sound file.
std::vector<ChunkEntry> chunks_of(const Bytes& bytes) {
  const MemoryInputFile file(bytes);
  const FileHeader header = decode_file_header(bytes, "file");
  const ScanResult scan = scan_recording(file, header);
  return {scan.index.chunks.begin(), scan.index.chunks.end()};
}

std::size_t end_of(const ChunkEntry& chunk) {
  return static_cast<std::size_t>(chunk.offset + kChunkHeaderSize + chunk.stored_length);
}

/// Offset of the n-th chunk of a type.
ChunkEntry find_chunk(const Bytes& bytes, ChunkType type, std::size_t nth = 0) {
  for (const ChunkEntry& chunk : chunks_of(bytes)) {
    if (chunk.type == static_cast<std::uint32_t>(type) && nth-- == 0) return chunk;
  }
  FAIL("no such chunk");
  return {};
}

Bytes flipped(Bytes bytes, std::size_t bit) {
  bytes[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
  return bytes;
}

bool is_subset(const std::vector<std::string>& part, const std::vector<std::string>& whole) {
  const std::set<std::string> all(whole.begin(), whole.end());
  return std::all_of(part.begin(), part.end(), [&](const std::string& fact) {
    return fact == "summary -" || all.count(fact) != 0;
  });
}

bool mentions(const Walk& walk, std::string_view text) {
  return std::any_of(walk.problems.begin(), walk.problems.end(), [&](const std::string& problem) {
    return problem.find(text) != std::string::npos;
  });
}

/// A chunk as the writer frames it.
Bytes make_chunk(std::uint32_t type, std::uint64_t sequence, ByteView payload,
                 const FileId& id = test_id()) {
  ChunkEncoder encoder;
  return encoder.encode(static_cast<ChunkType>(type), sequence, id, payload, 0);
}

/// A file of a header, metadata, and hand-made chunks after it.
Bytes make_file(const std::vector<Bytes>& chunks) {
  Bytes bytes = encode_file_header({kFormatVersion, test_id()});
  const Bytes metadata =
      make_chunk(static_cast<std::uint32_t>(ChunkType::metadata), 0, as_bytes("{}"));
  bytes.insert(bytes.end(), metadata.begin(), metadata.end());
  for (const Bytes& chunk : chunks) bytes.insert(bytes.end(), chunk.begin(), chunk.end());
  return bytes;
}

}  // namespace

TEST_CASE("a file cut at any byte opens with all its whole chunks") {
  const Bytes whole = sample_bytes();
  const std::vector<ChunkEntry> chunks = chunks_of(whole);
  const Walk expected = walk_bytes(whole);
  REQUIRE(expected.problems.empty());
  for (std::size_t size = 0; size < whole.size(); size += every(kFewer)) {
    CAPTURE(size);
    const Walk walk = walk_bytes(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    REQUIRE(walk.opened == (size >= end_of(chunks[0])));
    REQUIRE_FALSE(walk.problems.empty());
    REQUIRE(is_subset(walk.facts, expected.facts));
    if (!walk.opened) continue;
    const RecordingReader reader(std::make_shared<MemoryInputFile>(
        Bytes(whole.begin(), whole.begin() + static_cast<long>(size))));
    const auto whole_chunks = std::count_if(
        chunks.begin(), chunks.end(), [&](const auto& chunk) { return end_of(chunk) <= size; });
    REQUIRE(reader.index().chunks.size() == static_cast<std::size_t>(whole_chunks));
    REQUIRE(reader.damage().size() == 1);
    REQUIRE(reader.damage()[0].usable_to == reader.usable_to());
  }
}

TEST_CASE("a flip of any bit is detected and never changes what is read") {
  const Bytes whole = sample_bytes();
  const Walk expected = walk_bytes(whole);
  REQUIRE(expected.problems.empty());
  for (std::size_t bit = 0; bit < whole.size() * 8; bit += every(kFewer)) {
    const Walk walk = walk_bytes(flipped(whole, bit));
    if (walk.problems.empty() || !is_subset(walk.facts, expected.facts) || walk.usable_to > 60) {
      FAIL("bit " << bit << " of " << whole.size() * 8);
    }
  }
}

TEST_CASE("a flip of any bit of a killed recording is detected") {
  const Bytes whole = sample_bytes(test_id(), false);
  const Walk expected = walk_bytes(whole);
  REQUIRE(expected.problems.size() == 2);  // opening and verifying say: unfinished
  for (std::size_t bit = 0; bit < whole.size() * 8; bit += every(kFewer)) {
    const Walk walk = walk_bytes(flipped(whole, bit));
    if (walk.problems == expected.problems || !is_subset(walk.facts, expected.facts)) {
      FAIL("bit " << bit << " of " << whole.size() * 8);
    }
  }
}

TEST_CASE("several flips, lost, doubled and swapped stretches never crash or invent") {
  const Bytes whole = sample_bytes();
  const Walk expected = walk_bytes(whole);
  std::mt19937_64 random(11);
  for (std::size_t round = 0; round < 3000; round += every(kFewer)) {
    Bytes bad = whole;
    const auto at = static_cast<long>(random() % (bad.size() - 400));
    const auto length = static_cast<long>(1 + random() % 400);
    switch (random() % 4) {
      case 0:
        for (int i = 0; i < 5; ++i) bad[random() % bad.size()] ^= 0x10;
        break;
      case 1:
        bad.erase(bad.begin() + at, bad.begin() + at + length);
        break;
      case 2:
        bad.insert(bad.begin() + at, whole.begin() + at, whole.begin() + at + length);
        break;
      default:
        std::fill_n(bad.begin() + at, length, std::uint8_t{0});
        break;
    }
    if (bad == whole) continue;
    const Walk walk = walk_bytes(bad);
    REQUIRE_FALSE(walk.problems.empty());
    REQUIRE(is_subset(walk.facts, expected.facts));
  }
}

TEST_CASE("damage in the log says where, why, and how far the recording is usable") {
  Bytes bytes = sample_bytes();
  const ChunkEntry log = find_chunk(bytes, ChunkType::input_log, 1);
  bytes = flipped(bytes, (static_cast<std::size_t>(log.offset) + kChunkHeaderSize) * 8);
  const RecordingReader lazy(std::make_shared<MemoryInputFile>(bytes, "recording.cvr"));
  CHECK(lazy.damage().empty());
  CHECK_THROWS_WITH_AS((void)lazy.read_inputs(1),
                       doctest::Contains("usable up to position 30 (replay --to)"), Error);
  const std::vector<Damage> found = lazy.verify_bytes();
  REQUIRE(found.size() == 1);
  CHECK(found[0].offset == log.offset);
  CHECK(found[0].usable_to == Position{30});
  CHECK(found[0].message.find("recording.cvr: chunk ") == 0);
  CHECK(found[0].message.find(": checksum ") != std::string::npos);

  // Without a footer the same damage shows at opening; the prefix is used.
  bytes.resize(bytes.size() - 1);
  const RecordingReader scanned(std::make_shared<MemoryInputFile>(bytes, "recording.cvr"));
  CHECK(scanned.usable_to() == Position{30});
  CHECK(scanned.checkpoints().size() == 1);
  CHECK(scanned.bookmarks().size() == 1);
  CHECK(scanned.images().size() == 2);
  REQUIRE(scanned.damage().size() == 2);
}

TEST_CASE("damage to an optional chunk does not touch replay") {
  Bytes bytes = sample_bytes();
  const ChunkEntry console = find_chunk(bytes, ChunkType::console);
  bytes = flipped(bytes, (static_cast<std::size_t>(console.offset) + kChunkHeaderSize) * 8);
  bytes.resize(bytes.size() - 1);
  const RecordingReader reader(std::make_shared<MemoryInputFile>(bytes));
  CHECK(reader.usable_to() == Position{60});
  CHECK(reader.checkpoints().size() == 2);
  CHECK(reader.damage()[0].message.find("replay is not affected") != std::string::npos);
}

TEST_CASE("damage to a checkpoint leaves the log and earlier checkpoints") {
  Bytes bytes = sample_bytes();
  const ChunkEntry batch = find_chunk(bytes, ChunkType::page_batch, 1);
  bytes = flipped(bytes, (static_cast<std::size_t>(batch.offset) + kChunkHeaderSize) * 8);
  bytes.resize(bytes.size() - 1);
  const RecordingReader reader(std::make_shared<MemoryInputFile>(bytes));
  CHECK(reader.usable_to() == Position{60});
  CHECK(reader.checkpoints().size() == 1);
}

TEST_CASE("a damaged footer costs nothing") {
  const Bytes whole = sample_bytes();
  const ChunkEntry footer = find_chunk(whole, ChunkType::footer);
  const Walk expected = walk_bytes(whole);
  for (const std::size_t at : {static_cast<std::size_t>(footer.offset), end_of(footer) - 1,
                               end_of(footer), whole.size() - 1}) {
    const Walk walk = walk_bytes(flipped(whole, at * 8));
    CHECK(walk.facts == expected.facts);
    CHECK(mentions(walk, "nothing is lost"));
  }
}

TEST_CASE("a footer that lies under a right checksum is found out") {
  // A file whose footer lists one chunk too few, framed and signed correctly.
  Bytes bytes =
      make_file({make_chunk(static_cast<std::uint32_t>(ChunkType::summary), 1, as_bytes("{}"))});
  RecordingIndex index;
  index.chunks.push_back({kFileHeaderSize, static_cast<std::uint32_t>(ChunkType::metadata), 2, 2});
  index.metadata = 0;
  const std::uint64_t offset = bytes.size();
  const Bytes footer = make_chunk(static_cast<std::uint32_t>(ChunkType::footer), 2, index.encode());
  bytes.insert(bytes.end(), footer.begin(), footer.end());
  const Bytes trailer = encode_trailer({offset, 2}, test_id());
  bytes.insert(bytes.end(), trailer.begin(), trailer.end());
  const RecordingReader reader(std::make_shared<MemoryInputFile>(bytes));
  REQUIRE(reader.damage().size() == 1);
  CHECK(reader.damage()[0].kind == DamageKind::damaged_index);
  CHECK(reader.summary_json() == "{}");
  CHECK_FALSE(reader.verify_bytes().empty());
}

TEST_CASE("a chunk of another file is never accepted") {
  const Bytes ours = sample_bytes(test_id(1));
  const Bytes theirs = sample_bytes(test_id(2));
  const Walk expected = walk_bytes(ours);
  for (const ChunkEntry& chunk : chunks_of(ours)) {
    Bytes mixed = ours;
    const auto from = static_cast<long>(chunk.offset);
    const auto to = static_cast<long>(end_of(chunk));
    std::copy(theirs.begin() + from, theirs.begin() + to, mixed.begin() + from);
    const Walk walk = walk_bytes(mixed);
    CHECK(mentions(walk, "a chunk of another recording"));
    CHECK(is_subset(walk.facts, expected.facts));
  }
  // Appended to a killed recording, with the very sequence number that is due.
  Bytes killed = sample_bytes(test_id(1), false);
  const std::uint64_t next = chunks_of(killed).size();
  const Bytes alien = make_chunk(static_cast<std::uint32_t>(ChunkType::bookmark), next,
                                 encode_bookmark({Position{1}, "alien"}), test_id(2));
  killed.insert(killed.end(), alien.begin(), alien.end());
  const Walk walk = walk_bytes(killed);
  CHECK(mentions(walk, "a chunk of another recording"));
  CHECK(is_subset(walk.facts, expected.facts));
}

TEST_CASE("unknown optional chunks are skipped, unknown critical ones refused by number") {
  const Bytes optional = make_file({make_chunk(77, 1, as_bytes("news"))});
  const RecordingReader reader(std::make_shared<MemoryInputFile>(optional));
  CHECK(reader.index().chunks.size() == 2);
  const Bytes critical = make_file({make_chunk(kCriticalFlag | 77, 1, as_bytes("news"))});
  CHECK_THROWS_WITH_AS(
      RecordingReader(std::make_shared<MemoryInputFile>(critical, "recording.cvr")),
      doctest::Contains("recording.cvr: chunk 1 at byte 0x62: type 77 is critical and not known"),
      Error);
}

TEST_CASE("a newer format version is refused with its number") {
  Bytes bytes = make_file({});
  const Bytes header = encode_file_header({kFormatVersion + 1, test_id()});
  std::copy(header.begin(), header.end(), bytes.begin());
  CHECK_THROWS_WITH_AS(RecordingReader(std::make_shared<MemoryInputFile>(bytes)),
                       doctest::Contains("format version 2"), Error);
  CHECK_THROWS_WITH_AS(RecordingReader(std::make_shared<MemoryInputFile>(Bytes(500, 'x'))),
                       doctest::Contains("not a recording"), Error);
}

TEST_CASE("hostile lengths and numbers are refused without large allocations") {
  Bytes header_only(kChunkHeaderSize);
  ChunkHeader header;
  header.type = static_cast<std::uint32_t>(ChunkType::console);
  header.sequence = 1;
  header.stored_length = 0xffff'ffff;
  header.raw_length = 0xffff'ffff;
  encode_chunk_header(header, test_id(), std::span(header_only).first<kChunkHeaderSize>());
  CHECK(mentions(walk_bytes(make_file({header_only})), "the limit is 16777216"));

  header.stored_length = header.raw_length = 1000;
  encode_chunk_header(header, test_id(), std::span(header_only).first<kChunkHeaderSize>());
  CHECK(mentions(walk_bytes(make_file({header_only})), "1000 bytes are declared, 0 are left"));

  // A sequence number that would need a table of 2^60 entries.
  const Bytes far = make_chunk(static_cast<std::uint32_t>(ChunkType::console), 1ull << 60, {});
  CHECK(mentions(walk_bytes(make_file({far})), "out of range"));

  // Claims of size inside sound chunks.
  ByteWriter checkpoint;
  for (int i = 0; i < 2; ++i) checkpoint.varint(0);
  checkpoint.bytes(Bytes(16));
  for (int i = 0; i < 8; ++i) checkpoint.varint(kNever);
  const Bytes lying =
      make_chunk(static_cast<std::uint32_t>(ChunkType::checkpoint), 1, checkpoint.data());
  CHECK(mentions(walk_bytes(make_file({lying})), "out of range"));

  // A trailer that points nowhere.
  Bytes nowhere = make_file({});
  const Bytes trailer = encode_trailer({~0ull - 10, 3}, test_id());
  nowhere.insert(nowhere.end(), trailer.begin(), trailer.end());
  CHECK(walk_bytes(nowhere).opened);
}

TEST_CASE("a compressed chunk that expands to more than it declares is refused") {
  ChunkEncoder encoder;
  Bytes chunk = encoder.encode(ChunkType::console, 1, test_id(), Bytes(100'000), 3);
  auto decoded = decode_chunk_header(std::span(chunk).first<kChunkHeaderSize>(), test_id());
  ChunkHeader header = std::get<ChunkHeader>(decoded);
  for (const std::uint32_t claimed : {0u, 99'999u, 100'001u}) {
    header.raw_length = claimed;
    const auto payload = decode_payload(header, ByteView(chunk).subspan(kChunkHeaderSize));
    CHECK(std::holds_alternative<ChunkFault>(payload));
  }
}

TEST_CASE("every failing write kills the writer, names the file, and leaves a file that opens") {
  const Walk expected = walk_bytes(sample_bytes());
  using Kind = FileFault::Kind;
  for (const Kind kind : {Kind::no_space, Kind::io_error, Kind::short_then_full}) {
    for (const bool truncate_fails : {false, true}) {
      for (std::uint64_t call = 0;; ++call) {
        auto memory = std::make_unique<MemoryOutputFile>("full.cvr");
        const auto bytes = memory->bytes();
        std::string message;
        try {
          write_sample(std::make_unique<FaultInjectingOutputFile>(
              std::move(memory), FileFault{kind, call}, std::nullopt, truncate_fails));
        } catch (const Error& error) {
          CHECK(error.code() == ErrorCode::host);
          message = error.what();
        }
        if (message.empty()) {
          CHECK(call > 15);
          break;
        }
        CAPTURE(call);
        CHECK(message.find("full.cvr: write of ") == 0);
        const char* reason = kind == Kind::io_error ? "Input/output error" : "No space left";
        CHECK(message.find(reason) != std::string::npos);
        const Walk walk = walk_bytes(*bytes);
        CHECK(walk.opened == (call >= 2));
        CHECK(is_subset(walk.facts, expected.facts));
      }
    }
  }
}

TEST_CASE("a short write is completed") {
  const Bytes expected = sample_bytes();
  for (std::uint64_t call = 0; call < 15; ++call) {
    auto memory = std::make_unique<MemoryOutputFile>();
    const auto bytes = memory->bytes();
    write_sample(std::make_unique<FaultInjectingOutputFile>(
        std::move(memory), FileFault{FileFault::Kind::short_write, call}));
    CHECK(*bytes == expected);
  }
}

TEST_CASE("a dead writer says so on every later call") {
  auto file = std::make_unique<FaultInjectingOutputFile>(std::make_unique<MemoryOutputFile>(),
                                                         FileFault{FileFault::Kind::no_space, 2});
  RecordingWriter writer(std::move(file), test_id(), "{}");
  writer.input(serial_input(1, 0, 'a'));
  CHECK_THROWS_WITH_AS(writer.flush(), doctest::Contains("No space left"), Error);
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_WITH_AS(writer.input(serial_input(2, 0, 'b')),
                         doctest::Contains("the recording ended there"), Error);
    CHECK_THROWS_AS(writer.advance_to(Position{9}), Error);
    CHECK_THROWS_AS(writer.tick(1), Error);
    CHECK_THROWS_AS(writer.finish("{}"), Error);
  }
}

TEST_CASE("a failing sync is an error of the host") {
  WriterOptions options;
  options.sync = SyncPolicy::output;
  auto file = std::make_unique<FaultInjectingOutputFile>(
      std::make_unique<MemoryOutputFile>(), FileFault{FileFault::Kind::no_space, 1000}, 1);
  RecordingWriter writer(std::move(file), test_id(), "{}", options);
  writer.input(serial_input(1, 0, 'a'));
  CHECK_THROWS_WITH_AS(writer.before_output(), doctest::Contains("sync: Input/output"), Error);
  CHECK_THROWS_AS(writer.advance_to(Position{9}), Error);
}
