// Which checkpoint another's pages are differences from, and what that saves a reader.
#include "recorder/format/checkpoint_chain.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "recorder/edit/rewrite.h"
#include "tests/recorder/counting_file.h"
#include "tests/recorder/large_recording.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

Bytes large(const LargeRecording& kind) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  write_large(std::move(file), test_id(), kind);
  return *bytes;
}

/// All pages of a checkpoint, from the deltas along its chain of parents.
std::map<std::uint64_t, Hash128> pages_at(const RecordingReader& reader, std::size_t checkpoint) {
  std::map<std::uint64_t, Hash128> pages;
  std::optional<std::size_t> at = checkpoint;
  while (at) {
    for (const PageRecord& page : reader.page_delta(*at)) pages.emplace(page.page, page.content);
    const auto& parent = reader.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  return pages;
}

std::size_t chain_length(std::uint32_t checkpoint) {
  std::size_t length = 0;
  for (auto at = chain_parent(checkpoint); at; at = chain_parent(*at)) ++length;
  return length;
}

}  // namespace

TEST_CASE("parents go back by powers of 16, so that chains stay short") {
  CHECK_FALSE(chain_parent(0));
  CHECK(chain_parent(1) == 0u);
  CHECK(chain_parent(15) == 14u);
  CHECK(chain_parent(16) == 0u);
  CHECK(chain_parent(17) == 16u);
  CHECK(chain_parent(0x120) == 0x110u);
  CHECK(chain_parent(0x300) == 0x200u);
  CHECK(chain_length(0xfff) == 45);
  CHECK(chain_length(999'999) <= 75);
}

TEST_CASE("what changed since a parent is what changed with each checkpoint since") {
  std::mt19937_64 random(3);
  ChangedPages changed;
  for (int round = 0; round < 2; ++round) {  // 0 begins anew
    std::vector<std::vector<std::uint32_t>> all;
    for (std::uint32_t n = 0; n < 600; ++n) {
      std::set<std::uint32_t> pages;
      for (std::uint64_t i = random() % 5; i != 0; --i) {
        pages.insert(static_cast<std::uint32_t>(random() % 300));
      }
      all.emplace_back(pages.begin(), pages.end());
      std::set<std::uint32_t> expected;
      const std::uint32_t since = n == 0 ? 0 : *chain_parent(n) + 1;
      for (std::uint32_t i = since; i <= n; ++i) expected.insert(all[i].begin(), all[i].end());
      REQUIRE(changed.taken(n, all[n]) ==
              std::vector<std::uint32_t>(expected.begin(), expected.end()));
    }
  }
}

TEST_CASE("the pages of a parent are there when its child is taken") {
  ChainPages chain;
  for (std::uint32_t n = 0; n < 600; ++n) {
    const auto parent = chain_parent(n);
    REQUIRE(chain.of_parent(n) ==
            (parent ? ChainPages::PageList{{*parent, {}}} : ChainPages::PageList{}));
    chain.taken(n, {{n, {}}});
  }
}

TEST_CASE("the memory at the end of a long recording is known from a part of the file") {
  LargeRecording kind;
  kind.checkpoints = 3000;
  kind.pages = 400;
  kind.hot_pages = 10;
  kind.other_pages = 3;
  const Bytes bytes = large(kind);
  PageVersions versions(kind);
  for (std::uint32_t n = 0; n < kind.checkpoints; ++n) (void)versions.next();
  const auto file = std::make_shared<CountingFile>(bytes);
  const RecordingReader reader(file);
  const std::uint64_t opened = file->bytes_read;
  const auto pages = pages_at(reader, kind.checkpoints - 1);
  CHECK(file->bytes_read - opened < (bytes.size() - opened) / 4);
  REQUIRE(pages.size() == kind.pages);
  for (const auto& [page, content] : pages) {
    REQUIRE(content == hash128(LargeRecording::content(page, versions.of(page))));
  }
  // The same where the index is missing, by reading the directories in order.
  Bytes killed = bytes;
  killed.resize(bytes.size() - kTrailerSize - 1);
  const RecordingReader scanned(std::make_shared<MemoryInputFile>(killed));
  CHECK(pages_at(scanned, kind.checkpoints - 1) == pages);
  Bytes content(kPageSize);
  for (const auto& [page, hash] : pages) {
    reader.read_page(hash, PageBytes(content.data(), kPageSize));
    REQUIRE(content == LargeRecording::content(page, versions.of(page)));
  }
}

TEST_CASE("a page map whose parent is far is known without the directories of its contents") {
  LargeRecording kind;
  kind.checkpoints = 300;
  kind.pages = 50;
  const Bytes bytes = large(kind);
  const RecordingReader sound(std::make_shared<MemoryInputFile>(bytes));
  Bytes damaged = bytes;
  for (std::size_t n = 1; n < 16; ++n) {
    const StreamRef directory = sound.checkpoints()[n].directory;
    const ChunkEntry chunk = sound.index().chunks[static_cast<std::size_t>(directory.first)];
    damaged[static_cast<std::size_t>(chunk.offset) + kChunkHeaderSize] ^= 1;
  }
  const RecordingReader reader(std::make_shared<MemoryInputFile>(damaged));
  CHECK(reader.checkpoints()[256].parent == 0u);
  const std::vector<PageRecord> far = reader.page_delta(256);
  REQUIRE(far.size() > 10);
  CHECK(far == sound.page_delta(256));
  CHECK_THROWS_AS((void)reader.page_delta(16), Error);
  CHECK(sound.page_delta(16).size() > 10);

  // The contents it names are where it says, and what lies there is compared with them.
  PageVersions versions(kind);
  for (int n = 0; n <= 256; ++n) (void)versions.next();
  Bytes content(kPageSize);
  for (const PageRecord& page : far) {
    REQUIRE(page.place.has_value());
    sound.read_page(page.content, PageBytes(content.data(), kPageSize), page.place);
    REQUIRE(content == LargeRecording::content(page.page, versions.of(page.page)));
    CHECK_THROWS_WITH_AS(
        sound.read_page(page.content, PageBytes(content.data(), kPageSize), *page.place - 1),
        doctest::Contains("a page's content does not have its hash"), Error);
  }
}

TEST_CASE("a page map says each content's hash or none") {
  PageMapRecord map;
  map.entries = {{3, 7, hash128(as_bytes("a"))}, {4, 0, {}}, {900, 1, hash128(as_bytes("b"))}};
  const std::size_t without = encode_page_map(map).size();
  CHECK_FALSE(decode_page_map(encode_page_map(map), "map").has_contents);
  map.has_contents = true;
  const Bytes bytes = encode_page_map(map);
  CHECK(bytes.size() == without + 2 * sizeof(Hash128));
  const PageMapRecord read = decode_page_map(bytes, "map");
  REQUIRE(read.has_contents);
  REQUIRE(read.entries.size() == 3);
  for (std::size_t n = 0; n < 3; ++n) {
    CHECK(read.entries[n].page == map.entries[n].page);
    CHECK(read.entries[n].code == map.entries[n].code);
    CHECK(read.entries[n].content == map.entries[n].content);
  }
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    if (length == without) continue;  // this is one without
    CHECK_THROWS_AS((void)decode_page_map(ByteView(bytes).first(length), "map"), Error);
  }
  Bytes longer = bytes;
  longer.push_back(0);
  CHECK_THROWS_WITH_AS((void)decode_page_map(longer, "map"), doctest::Contains("left over"), Error);
}

TEST_CASE("a copy of an old recording has short chains and the same pages") {
  LargeRecording kind;
  kind.checkpoints = 300;
  kind.pages = 50;
  kind.chained = false;
  const auto old =
      std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(large(kind)));
  CHECK(old->checkpoints()[299].parent == 298u);
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  const RecordingReader* sources[] = {old.get()};
  rewrite_recording(sources, std::move(file), {});
  const RecordingReader copy(std::make_shared<MemoryInputFile>(*bytes));
  REQUIRE(copy.checkpoints().size() == 300);
  for (std::uint32_t n = 0; n < 300; ++n) {
    CHECK(copy.checkpoints()[n].parent == chain_parent(n));
    if (n % 37 == 0) CHECK(pages_at(copy, n) == pages_at(*old, n));
  }
}

TEST_CASE("totals that contradict a directory are found, and totals of too few are left") {
  LargeRecording kind;
  kind.checkpoints = 5;
  kind.pages = 20;
  const Bytes bytes = large(kind);
  const RecordingReader sound(std::make_shared<MemoryInputFile>(bytes));
  const auto expected = pages_at(sound, 4);
  for (const std::vector<std::uint32_t>& totals :
       {std::vector<std::uint32_t>{20, 20, 20, 20, 20}, {20, 16}, {~0u, ~0u, ~0u, ~0u, ~0u}}) {
    Bytes lying = encode_file_header({kFormatVersion, test_id()});
    ChunkEncoder encoder;
    std::uint64_t sequence = 0;
    for (const ChunkEntry& chunk : sound.index().chunks) {
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(chunk.offset);
      Bytes copy(at, at + static_cast<std::ptrdiff_t>(kChunkHeaderSize + chunk.stored_length));
      if (chunk.type == static_cast<std::uint32_t>(ChunkType::page_totals)) {
        copy = encoder.encode(ChunkType::page_totals, sequence, test_id(),
                              encode_page_totals(totals), 0);
      }
      lying.insert(lying.end(), copy.begin(), copy.end());
      ++sequence;
    }
    const RecordingReader reader(std::make_shared<MemoryInputFile>(lying));
    if (totals.size() == 5 && totals[0] == 20) {
      CHECK_THROWS_WITH_AS((void)pages_at(reader, 4),
                           doctest::Contains("the page totals contradict"), Error);
    } else {
      CHECK(pages_at(reader, 4) == expected);
    }
  }
  CHECK_THROWS_AS((void)decode_page_totals(Bytes{200, 1}, "totals"), Error);
}
