// The index of a recording on disk: tables of which all but the latest records are in blocks.
#include "recorder/format/index_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>

#include "base/error.h"
#include "recorder/edit/bookmark_edit.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/scan.h"
#include "tests/patience.h"
#include "tests/recorder/counting_file.h"
#include "tests/recorder/large_recording.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

/// So small that a small recording has several levels of them.
constexpr BlockShape kSmallBlocks{4, 3};

LargeRecording some_recording(std::uint32_t checkpoints = 60) {
  LargeRecording kind;
  kind.checkpoints = checkpoints;
  kind.pages = 20;
  kind.hot_pages = 3;
  kind.other_pages = 2;
  return kind;
}

Bytes written(const LargeRecording& kind, const WriterOptions& options) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  write_large(std::move(file), test_id(), kind, "{}", options);
  return *bytes;
}

/// For longer ones.
constexpr BlockShape kLargerBlocks{16, 8};

Bytes with_blocks(const LargeRecording& kind = some_recording(),
                  std::uint64_t mark_every_bytes = 2000, const BlockShape& shape = kSmallBlocks) {
  WriterOptions options;
  options.index_blocks = shape;
  options.mark_every_bytes = mark_every_bytes;
  return written(kind, options);
}

std::unique_ptr<RecordingReader> open_bytes(const Bytes& bytes) {
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(bytes, "file.cvr"));
}

ScanResult scan_of(const Bytes& bytes) {
  const MemoryInputFile file(bytes, "file.cvr");
  return scan_recording(file, {kFormatVersion, test_id()});
}

/// All pages of a checkpoint, as they can be read.
std::vector<Bytes> pages_of(const RecordingReader& reader, std::size_t checkpoint) {
  std::vector<Bytes> pages;
  for (const PageRecord& page : reader.page_delta(checkpoint)) {
    Bytes content(kPageSize);
    reader.read_page(page.content, PageBytes(content.data(), kPageSize), page.place);
    CHECK(hash128(content) == page.content);
    pages.push_back(std::move(content));
  }
  return pages;
}

std::vector<ChunkEntry> blocks_in(const Bytes& bytes) {
  std::vector<ChunkEntry> blocks;
  for (const ChunkEntry& chunk : scan_of(bytes).index.chunks) {
    if (chunk.type == static_cast<std::uint32_t>(ChunkType::index_block)) blocks.push_back(chunk);
  }
  return blocks;
}

/// A table of intervals in blocks of a file of its own.
struct Blocks {
  Bytes bytes = encode_file_header({kFormatVersion, test_id()});
  std::uint64_t sequence = 1000;  ///< of the next block: the records lie before
  IndexTable<IntervalInfo> table;

  Blocks() { table.shape(kSmallBlocks); }
  BlockRef put(ByteView payload) {
    ChunkEncoder encoder;
    const Bytes& chunk = encoder.encode(ChunkType::index_block, sequence, test_id(), payload, 0);
    const auto length = static_cast<std::uint32_t>(payload.size());
    const BlockRef ref{sequence++, bytes.size(), length, length};
    bytes.insert(bytes.end(), chunk.begin(), chunk.end());
    return ref;
  }
  void fill(std::uint64_t count) {
    for (std::uint64_t n = 0; n < count; ++n) {
      table.push_back({Position{n * 10}, Position{n * 10 + 10}, n % 1000});
      table.write_full_blocks([this](ByteView payload) { return put(payload); });
    }
  }
  [[nodiscard]] IndexTable<IntervalInfo> opened() const {
    ByteWriter out;
    table.encode(out);
    return opened(out.data());
  }
  [[nodiscard]] IndexTable<IntervalInfo> opened(const Bytes& payload) const {
    ByteReader in(payload, "table");
    auto decoded = IndexTable<IntervalInfo>::decode(
        in, {1'000'000, bytes.size(), 0, 0},
        std::make_shared<IndexBlocks>(std::make_shared<MemoryInputFile>(bytes, "file"), test_id()));
    if (!in.at_end()) in.fail("bytes are left over");
    return decoded;
  }
};

}  // namespace

TEST_CASE("a table gives each record back, however many levels of blocks it has") {
  for (const std::uint64_t count : {1, 4, 5, 8, 9, 16, 17, 60, 61, 500}) {
    CAPTURE(count);
    Blocks blocks;
    blocks.fill(count);
    const IndexTable<IntervalInfo> table = blocks.opened();
    REQUIRE(table.size() == count);
    CHECK(table.has_blocks() == (count > kSmallBlocks.records));
    std::uint64_t n = 0;
    for (const IntervalInfo& info : table) CHECK(info.from == Position{n++ * 10});
    CHECK(table.back() == table[count - 1]);
    const auto after = std::partition_point(
        table.begin(), table.end(),
        [&](const IntervalInfo& info) { return info.from <= Position{count / 2 * 10}; });
    CHECK(static_cast<std::uint64_t>(after - table.begin()) == count / 2 + 1);
  }
}

TEST_CASE("a block that is another part of the index is refused") {
  Blocks blocks;
  blocks.fill(40);
  ByteWriter out;
  blocks.table.encode(out);
  // Each reference in the root, exchanged for another block's.
  const IndexTable<IntervalInfo> sound = blocks.opened();
  const Bytes root = out.take();
  std::size_t refused = 0;
  for (std::size_t at = 0; at < root.size(); ++at) {
    for (const std::uint8_t flip : {1, 2, 4, 64}) {
      Bytes bad = root;
      bad[at] ^= flip;
      try {
        const IndexTable<IntervalInfo> table = blocks.opened(bad);
        for (const IntervalInfo& info : table) CHECK(info.to >= info.from);
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::bad_input);
        ++refused;
      }
    }
  }
  CHECK(refused > 50);
  CHECK(sound.size() == 40);
}

TEST_CASE("blocks that refer to themselves, to each other or to what comes later are refused") {
  Blocks blocks;
  // One block of level 1 that names itself as its own leaf.
  ByteWriter self;
  encode_block_head({IndexTraits<IntervalInfo>::kTable, 1, 0, 3}, self);
  for (int n = 0; n < 3; ++n) encode_block_ref({1000, 40, 30, 30}, self);
  const BlockRef ref = blocks.put(self.data());
  ByteWriter root;
  root.integer(IndexTraits<IntervalInfo>::kTable);
  root.varint(4);
  root.varint(3);
  root.varint(12);
  root.varint(2);
  root.varint(0);
  root.varint(1);
  encode_block_ref(ref, root);
  root.varint(1);
  root.varint(5);
  root.varint(120);
  root.varint(10);
  const IndexTable<IntervalInfo> table = blocks.opened(root.data());
  CHECK(table.size() == 13);
  CHECK(table[12].from == Position{120});
  CHECK_THROWS_WITH_AS((void)table[0], doctest::Contains("does not come before"), Error);
}

TEST_CASE("a recording with an index in blocks says what one without says") {
  const LargeRecording kind = some_recording();
  const Bytes plain = written(kind, {});
  const Bytes blocks = with_blocks(kind);
  REQUIRE(blocks_in(plain).empty());
  REQUIRE(blocks_in(blocks).size() > 50);
  const Walk expected = walk_bytes(plain);
  const Walk walk = walk_bytes(blocks);
  CHECK(walk.problems.empty());
  CHECK(walk.facts == expected.facts);
  CHECK(walk.usable_to == expected.usable_to);
  const auto old = open_bytes(plain);
  const auto fresh = open_bytes(blocks);
  CHECK(fresh->digest_count() == old->digest_count());
  CHECK(fresh->input_counts() == old->input_counts());
  for (std::uint64_t at = 0; at < fresh->usable_to().steps; at += kind.steps_apart / 2 + 1) {
    CHECK(fresh->checkpoint_before({at}) == old->checkpoint_before({at}));
  }
  for (const std::size_t n : {0u, 1u, 16u, 31u, 59u}) {
    CHECK(pages_of(*fresh, n) == pages_of(*old, n));
  }
}

TEST_CASE("a scan finds the same index as the blocks say") {
  const Bytes bytes = with_blocks();
  const auto reader = open_bytes(bytes);
  CHECK(reader->damage().empty());
  CHECK(reader->verify_bytes().empty());
  ScanResult scan = scan_of(bytes);
  CHECK(scan.damage.empty());
  REQUIRE(scan.index.chunks.size() == reader->index().chunks.size() + 1);
  // The root does not list itself.
  scan.index.chunks.pop_back();
  scan.index.totals.erase(static_cast<std::uint32_t>(ChunkType::index_root));
  CHECK(scan.index == reader->index());
  CHECK(scan.index.tallies == reader->index().tallies);
}

TEST_CASE("what was cut off is scanned from the last mark, and says what a whole scan says") {
  const Bytes bytes = with_blocks(some_recording(40), 3000);
  std::size_t by_mark = 0;
  for (std::size_t size = 200; size < bytes.size(); size += 331 * every(7)) {
    CAPTURE(size);
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const ScanResult whole = scan_of(cut);
    if (!whole.index.metadata) continue;
    const auto reader = open_bytes(cut);
    CHECK(reader->index() == whole.index);
    CHECK(reader->index().tallies == whole.index.tallies);
    REQUIRE(reader->damage().size() == 1);
    CHECK(reader->damage()[0].message == whole.damage[0].message);
    by_mark += reader->index().chunks.has_blocks() ? 1 : 0;
  }
  CHECK(by_mark > 2);
}

TEST_CASE("opening what was cut off reads the end alone") {
  LargeRecording kind = some_recording(2500);
  const Bytes bytes = with_blocks(kind, 50'000, kLargerBlocks);
  Bytes cut(bytes.begin(), bytes.end() - 100);
  const auto file = std::make_shared<CountingFile>(cut);
  const RecordingReader reader(file);
  CHECK(reader.checkpoints().size() == 2500);
  // A window, and a few times what lies behind the mark.
  CHECK(file->bytes_read < (1u << 20) + 400'000);
  CHECK(bytes.size() > (1u << 20) + 400'000);
}

TEST_CASE("opening and looking at one place read a part that does not grow") {
  std::vector<std::uint64_t> opened;
  std::vector<std::uint64_t> looked;
  for (const std::uint32_t checkpoints : {300u, 3000u}) {
    const Bytes bytes = with_blocks(some_recording(checkpoints), 1u << 20, kLargerBlocks);
    const auto file = std::make_shared<CountingFile>(bytes);
    const RecordingReader reader(file);
    opened.push_back(file->bytes_read);
    const std::size_t middle = checkpoints / 2;
    CHECK(reader.checkpoint_before({middle * some_recording().steps_apart + 1}) == middle);
    CHECK(reader.load_sections(middle).size() == 1);
    looked.push_back(file->bytes_read - opened.back());
  }
  CHECK(opened[1] < opened[0] * 2);
  CHECK(looked[1] < looked[0] * 3);
}

TEST_CASE("blocks that were read are kept within a bound") {
  const Bytes bytes = with_blocks(some_recording(500), 1u << 20, kLargerBlocks);
  RecordingReader reader(std::make_shared<MemoryInputFile>(bytes), {.index_bytes = 20'000});
  for (std::size_t n = 0; n < reader.checkpoints().size(); ++n) {
    CHECK(reader.checkpoints()[n].position == Position{n * some_recording().steps_apart});
  }
  CHECK(reader.index_blocks().bytes() <= 20'000);
  CHECK(reader.index_blocks().reads() > 30);
}

TEST_CASE("a flip in an index block or root is found, and never changes what is read") {
  const Bytes bytes = with_blocks(some_recording(40), 3000);
  const Walk expected = walk_bytes(bytes);
  const std::set<std::string> all(expected.facts.begin(), expected.facts.end());
  std::mt19937_64 random(3);
  for (std::size_t round = 0; round < 150; round += every(13)) {
    Bytes bad = bytes;
    const std::size_t bit = random() % (bytes.size() * 8);
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const Walk walk = walk_bytes(bad);
    CAPTURE(bit);
    REQUIRE_FALSE(walk.problems.empty());
    for (const std::string& fact : walk.facts) {
      if (fact != "summary -") REQUIRE(all.contains(fact));
    }
  }
}

TEST_CASE("an index block that is damaged is named, and a scan makes the index again") {
  Bytes bytes = with_blocks();
  const ChunkEntry block = blocks_in(bytes)[20];
  bytes[static_cast<std::size_t>(block.offset) + kChunkHeaderSize] ^= 0xff;
  const auto reader = open_bytes(bytes);
  CHECK(reader->damage().empty());
  std::string message;
  try {
    for (const ChunkEntry& chunk : reader->index().chunks) (void)chunk;
    for (const CheckpointInfo& info : reader->checkpoints()) (void)info;
    for (const auto& digest : reader->index().digests) (void)digest;
    for (const auto& interval : reader->intervals()) (void)interval;
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("file.cvr: chunk ") == 0);
  CHECK(message.find("pack makes it again") != std::string::npos);
  const RecordingReader scanned(std::make_shared<MemoryInputFile>(bytes, "file.cvr"),
                                {.rescan = true});
  CHECK(scanned.checkpoints().size() == 60);
  CHECK(scanned.damage().size() == 1);
  const RecordingReader* sources[] = {&scanned};
  auto file = std::make_unique<MemoryOutputFile>();
  const auto copy = file->bytes();
  rewrite_recording(sources, std::move(file), {});
  CHECK(walk_bytes(*copy).problems.empty());
}

TEST_CASE("a recording whose first index block is damaged opens by a scan") {
  Bytes bytes = with_blocks();
  const ChunkEntry block = blocks_in(bytes).front();
  bytes[static_cast<std::size_t>(block.offset) + kChunkHeaderSize] ^= 0xff;
  const auto reader = open_bytes(bytes);
  CHECK(reader->damage().size() == 1);
  CHECK(reader->checkpoints().size() == 60);
}

TEST_CASE("a bookmark is added to a recording with blocks") {
  const Bytes bytes = with_blocks();
  const auto path = std::filesystem::temp_directory_path() / "chronovisor-index-table-test.cvr";
  {
    PosixOutputFile file(path.string(), ExistingFile::replace);
    file.append(bytes);
  }
  for (int n = 0; n < 30; ++n) {
    append_bookmark(path.string(), {Position{5}, "mark " + std::to_string(n)});
  }
  const RecordingReader reader(path.string());
  CHECK(reader.damage().empty());
  CHECK(reader.bookmarks().size() == 30);
  CHECK(reader.index().bookmarks.has_blocks());
  const PosixInputFile file(path.string());
  ScanResult scan = scan_recording(file, {kFormatVersion, test_id()});
  scan.index.chunks.pop_back();
  scan.index.totals.erase(static_cast<std::uint32_t>(ChunkType::index_root));
  CHECK(scan.index == reader.index());
  std::filesystem::remove(path);
}

TEST_CASE("a recording is read while it is written, and says so") {
  const auto path = std::filesystem::temp_directory_path() / "chronovisor-growing-test.cvr";
  WriterOptions options;
  options.index_blocks = kSmallBlocks;
  options.mark_every_bytes = 3000;
  std::optional<RecordingWriter> writer;
  writer.emplace(std::make_unique<PosixOutputFile>(path.string(), ExistingFile::replace), test_id(),
                 "{}", options);
  for (std::uint64_t n = 1; n < 60; ++n) {
    const Position here{n * 1000};
    writer->input(serial_input(here.steps - 1, 0, static_cast<char>('a' + n % 26)));
    writer->digest({here, hash128(as_bytes(std::to_string(n)))});
    writer->advance_to(here);
    writer->flush();
    const RecordingReader reader(path.string());
    CHECK(reader.usable_to() == here);
    CHECK(reader.digest_count() == n);
    CHECK(reader.input_counts() == std::map<InputKind, std::uint64_t>{{InputKind::serial_byte, n}});
    REQUIRE(reader.damage().size() == 1);
    CHECK(reader.damage()[0].kind == DamageKind::being_written);
    CHECK(reader.damage()[0].message.ends_with("is being recorded; so far it goes up to position " +
                                               grouped(here.steps)));
  }
  writer.reset();
  const RecordingReader killed(path.string());
  REQUIRE(killed.damage().size() == 1);
  CHECK(killed.damage()[0].kind == DamageKind::unfinished);
  std::filesystem::remove(path);
}

TEST_CASE("intervals that were indexed later are told from those in order") {
  RecordingIndex index;
  for (const std::uint64_t from : {0, 10, 20, 5, 15, 15, 3}) {
    index.add_interval({Position{from}, Position{from + 5}, 0});
  }
  CHECK(index.interval_runs == std::vector<std::uint64_t>{3, 6});
}

TEST_CASE("a writer's memory does not grow with the recording's index") {
  auto file = std::make_unique<MemoryOutputFile>();
  WriterOptions options;
  options.index_blocks = kSmallBlocks;
  RecordingWriter writer(std::move(file), test_id(), "{}", options);
  for (std::uint64_t n = 0; n < 2000; ++n) {
    writer.digest({Position{n * 10}, hash128(as_bytes(std::to_string(n)))});
    writer.advance_to(Position{n * 10});
    writer.flush();
  }
  CHECK(writer.index().encode_root().size() < 4000);
  CHECK(writer.index().inputs.size() > 1900);
}
