// Pages that are kept as what they are like: they read as they were, they take little
// room, and no damage or malice makes another page of them.
#include <doctest/doctest.h>
#include <zstd.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/error.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/boot_payload.h"
#include "recorder/format/like_pages.h"
#include "recorder/format/scan.h"
#include "tests/recorder/recipe_sample.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

Bytes noise(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

Bytes page_of(const Bytes& bytes, std::size_t offset) {
  const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
  return {at, at + kPageSize};
}

std::unique_ptr<RecordingReader> open(const Bytes& bytes) {
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(bytes, "file.cvr"));
}

Bytes read_page(const RecordingReader& reader, const Bytes& expected) {
  Bytes page(kPageSize);
  reader.read_page(hash128(expected), PageBytes(page.data(), kPageSize));
  return page;
}

std::vector<ChunkEntry> chunks_of(const Bytes& bytes) {
  const MemoryInputFile file(bytes);
  const ScanResult scan = scan_recording(file, decode_file_header(bytes, "file"));
  return {scan.index.chunks.begin(), scan.index.chunks.end()};
}

bool is_subset(const std::vector<std::string>& part, const std::vector<std::string>& whole) {
  const std::set<std::string> all(whole.begin(), whole.end());
  return std::all_of(part.begin(), part.end(), [&](const std::string& fact) {
    return fact == "summary -" || all.contains(fact);
  });
}

/// What is made by writing `images`, then the contents as checkpoints one after the other.
Bytes recorded(const std::vector<std::pair<std::string, Bytes>>& images,
               const std::vector<PageContents>& checkpoints,
               std::uint32_t pages_per_batch = kPagesPerBatch) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  WriterOptions options;
  options.pages_per_batch = pages_per_batch;
  RecordingWriter writer(std::move(file), test_id(), "{}", options);
  for (const auto& [role, content] : images) {
    writer.embed_image(role, "/" + role, MemoryInputFile(content, role));
  }
  std::optional<std::uint32_t> parent;
  for (const PageContents& pages : checkpoints) {
    write_pages(writer, writer.checkpoint_count() * 100, parent, pages);
    parent = parent ? *parent + 1 : 0;
  }
  writer.finish(std::nullopt);
  return *bytes;
}

std::uint64_t bytes_of(const RecordingReader& reader, const std::string& type) {
  for (const TypeSize& size : reader.sizes()) {
    if (size.type == type) return size.stored_bytes;
  }
  return 0;
}

Bytes zstd_of(const Bytes& content) {
  Bytes packed(ZSTD_compressBound(content.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(), content.size(), 3));
  return packed;
}

/// The sample, without a footer, with the payload of its nth chunk of recipes replaced.
Bytes with_recipes(const Bytes& sample, std::size_t nth, const Bytes& payload) {
  Bytes bytes = encode_file_header({kFormatVersion, test_id()});
  ChunkEncoder encoder;
  std::uint64_t sequence = 0;
  for (const ChunkEntry& chunk : chunks_of(sample)) {
    if (chunk.type == static_cast<std::uint32_t>(ChunkType::footer)) break;
    const auto at = sample.begin() + static_cast<std::ptrdiff_t>(chunk.offset);
    Bytes copy(at, at + static_cast<std::ptrdiff_t>(kChunkHeaderSize + chunk.stored_length));
    if (chunk.type == static_cast<std::uint32_t>(ChunkType::page_recipes) && nth-- == 0) {
      copy = encoder.encode(ChunkType::page_recipes, sequence, test_id(), payload, 0);
    }
    bytes = joined(bytes, copy);
    ++sequence;
  }
  return bytes;
}

/// What a walk over the sample says when its second chunk of recipes, of three pages, is
/// these recipes.
std::string problem_with(const std::vector<PageRecipe>& recipes, const Bytes& data) {
  const Bytes sample = recipe_sample_bytes(false);
  const Walk walk = walk_bytes(with_recipes(sample, 1, encode_recipes(recipes, data)));
  CHECK(is_subset(walk.facts, walk_bytes(sample).facts));
  std::string all;
  for (const std::string& problem : walk.problems) all += problem + "\n";
  return all;
}

}  // namespace

TEST_CASE("a page that changes a little at a time costs little, and reads as it was") {
  std::vector<PageContents> checkpoints;
  Bytes page = noise(kPageSize, 1);
  std::mt19937_64 random(2);
  for (int n = 0; n < 100; ++n) {
    // Mostly a few bytes; now and then so many that the next is compared with this one.
    for (std::uint64_t i = random() % 200; i != 0; --i) page[random() % kPageSize] ^= 0x81;
    checkpoints.push_back({{7, page}, {8, noise(kPageSize, 3)}});
  }
  const auto reader = open(recorded({}, checkpoints));
  for (const PageContents& pages : checkpoints) {
    for (const auto& [number, content] : pages) CHECK(read_page(*reader, content) == content);
  }
  CHECK(bytes_of(*reader, "page recipes") < 100 * kPageSize / 5);
}

TEST_CASE("no page needs more than a few others to be read") {
  LikePages like;
  Bytes page(kPageSize);
  std::vector<std::uint32_t> base(500);
  std::vector<unsigned> hops(500);
  for (std::uint32_t n = 0; n < 500; ++n) {
    // A quarter of the words, so that each is compared with the one before it.
    for (std::size_t i = 0; i < kPageSize / 8; i += 4)
      page[i * 8] = static_cast<std::uint8_t>(n + i);
    Bytes data;
    const PageRecipe recipe = like.recipe(3, page, n, data);
    if (recipe.like != PageLikeness::page) continue;
    REQUIRE(recipe.at <= n);
    hops[n] = hops[n - recipe.at] + 1;
  }
  CHECK(*std::max_element(hops.begin(), hops.end()) == LikePages::kMostHops);
  static_assert(LikePages::kMostHops <= kMostPageHops);
}

TEST_CASE("pages that are pieces of an image take no room") {
  const Bytes image = noise(1u << 20, 5);
  PageContents pages;
  for (std::size_t n = 0; n + 2 < image.size() / kPageSize; ++n) {
    pages[n + 50] = page_of(image, n * kPageSize + 512 * (1 + n / 100));
  }
  pages[400] = changed(page_of(image, 9 * 512), 20);
  const auto reader = open(recorded({{"kernel", image}}, {pages}));
  CHECK(bytes_of(*reader, "page recipes") < 2000);
  CHECK(bytes_of(*reader, "page batch") == 0);
  for (const auto& [number, content] : pages) REQUIRE(read_page(*reader, content) == content);
}

TEST_CASE("a kernel's pages are found in what its image unpacks to") {
  const Bytes kernel = noise(300'000, 6);
  for (const Bytes& packed : {lz4_literal(kernel), zstd_of(kernel)}) {
    const Bytes image = kernel_image(packed, kernel.size());
    REQUIRE(unpack_boot_payload(image) == kernel);
    PageContents pages;
    for (std::size_t n = 0; n < 70; ++n) {
      pages[4096 + n] = changed(page_of(kernel, 1024 + n * kPageSize), n % 3);
    }
    const auto reader = open(recorded({{"kernel", image}}, {pages}));
    CHECK(bytes_of(*reader, "page recipes") < 6000);
    for (const auto& [number, content] : pages) REQUIRE(read_page(*reader, content) == content);
  }
}

TEST_CASE("LZ4 blocks with matches unpack, those that overlap themselves as well") {
  // "abc", eleven bytes from three back, then a last sequence, which is never shorter.
  const Bytes block = {0x37, 'a', 'b', 'c', 3,   0,   0xc0, 'm', 'n', 'o',
                       'p',  'q', 'r', 's', 't', 'u', 'v',  'w', 'x'};
  ByteWriter packed;
  packed.integer(std::uint32_t{0x184c2102});
  for (int n = 0; n < 2; ++n) {
    packed.integer(static_cast<std::uint32_t>(block.size()));
    packed.bytes(block);
  }
  const auto unpacked = unpack_boot_payload(kernel_image(packed.data(), 52));
  REQUIRE(unpacked);
  CHECK(std::string(unpacked->begin(), unpacked->end()) ==
        "abcabcabcabcabmnopqrstuvwxabcabcabcabcabmnopqrstuvwx");
}

TEST_CASE("a kernel image that is cut or damaged unpacks to nothing or within its bounds") {
  const Bytes kernel = noise(3000, 7);
  for (const Bytes& packed : {lz4_literal(kernel), zstd_of(kernel)}) {
    const Bytes image = kernel_image(packed, kernel.size());
    for (std::size_t size = 0; size < image.size(); size += 7) {
      CHECK_FALSE(unpack_boot_payload(ByteView(image).first(size)));
    }
    for (std::size_t at = 0x1f0; at < image.size(); ++at) {
      Bytes bad = image;
      bad[at] ^= 0xff;
      const auto unpacked = unpack_boot_payload(bad);
      CHECK((!unpacked || unpacked->size() <= 64 * image.size()));
    }
  }
  // A size that the payload cannot have.
  CHECK_FALSE(unpack_boot_payload(kernel_image(lz4_literal(kernel), 200u << 20)));
}

TEST_CASE("a page that is a block of a disk refers to it") {
  const auto reader = open(recipe_sample_bytes());
  CHECK(read_page(*reader, test_page(90)) == test_page(90));
  std::size_t blocks = 0;
  for (const ChunkEntry& chunk : reader->index().chunks) {
    if (chunk.type == static_cast<std::uint32_t>(ChunkType::block_data)) ++blocks;
  }
  CHECK(blocks == 1);
  const auto& bytes = recipe_sample_bytes();
  const Walk walk = walk_bytes(bytes);
  CHECK(walk.problems.empty());
  CHECK(walk.facts == walk_bytes(with_recipes(bytes, 99, {})).facts);
}

TEST_CASE("a copy and a part hold the same pages, however they were kept") {
  const Bytes bytes = recipe_sample_bytes();
  const auto source = open(bytes);
  for (const std::uint64_t from : {0, 20, 50}) {
    const RecordingReader* sources[] = {source.get()};
    RewriteOptions options;
    options.from = Position{from};
    auto file = std::make_unique<MemoryOutputFile>();
    const auto copy = file->bytes();
    rewrite_recording(sources, std::move(file), options);
    const Walk walk = walk_bytes(*copy);
    CHECK(walk.problems.empty());
    const auto part = open(*copy);
    CHECK(read_page(*part, changed(test_page(11), 95)) == changed(test_page(11), 95));
    CHECK(read_page(*part, changed(test_page(71), 2)) == changed(test_page(71), 2));
  }
}

TEST_CASE("a flip of any bit of pages kept as what they are like is found") {
  const Bytes whole = recipe_sample_bytes();
  const Walk expected = walk_bytes(whole);
  REQUIRE(expected.problems.empty());
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    Bytes bad = whole;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const Walk walk = walk_bytes(bad);
    if (walk.problems.empty() || !is_subset(walk.facts, expected.facts)) {
      FAIL("bit " << bit << " of " << whole.size() * 8);
    }
  }
}

TEST_CASE("a recording with recipes that is cut at any byte opens with what is whole") {
  const Bytes whole = recipe_sample_bytes();
  const Walk expected = walk_bytes(whole);
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    const Walk walk = walk_bytes(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    REQUIRE_FALSE(walk.problems.empty());
    REQUIRE(is_subset(walk.facts, expected.facts));
  }
}

TEST_CASE("recipes that lie are refused, and no page is taken for another") {
  const PageRecipe whole{PageLikeness::zeros, true, 0, 0};
  const PageRecipe nothing{PageLikeness::zeros, false, 0, 0};
  const Bytes data(kPageSize, 9);
  const auto with = [&](const PageRecipe& recipe) {
    return problem_with({recipe, nothing, nothing}, {});
  };
  CHECK(problem_with({whole, nothing, nothing}, data).find("does not have its hash") !=
        std::string::npos);
  CHECK(with({PageLikeness::page, false, 0, 0}).find("does not come before") != std::string::npos);
  CHECK(with({PageLikeness::page, false, 0, 900}).find("does not come before") !=
        std::string::npos);
  CHECK(with({PageLikeness::image, false, 7, 0}).find("an image that is not there") !=
        std::string::npos);
  CHECK(with({PageLikeness::image, false, 1, 4097}).find("out of its image") != std::string::npos);
  CHECK(with({PageLikeness::image, false, 1, ~0ull}).find("out of range") != std::string::npos);
  CHECK(with({PageLikeness::unpacked, false, 0, 4097}).find("out of its image") !=
        std::string::npos);
  CHECK(with({PageLikeness::unpacked, false, 1, 0}).find("does not unpack") != std::string::npos);
  CHECK(with({PageLikeness::block, false, 10'000, 0}).find("comes after it") != std::string::npos);
  CHECK(with({PageLikeness::block, false, 0, 0}).find("where block data is expected") !=
        std::string::npos);
  CHECK(problem_with({whole, nothing}, data).find("count of pages") != std::string::npos);
  CHECK(problem_with({whole, nothing, nothing}, {}).find("bytes") != std::string::npos);
  CHECK_THROWS_AS((void)decode_recipes({1, 0x05}, "recipes"), Error);
  CHECK_THROWS_AS((void)decode_recipes({1, 0x20}, "recipes"), Error);
  CHECK_THROWS_AS((void)decode_recipes({1, 0x12}, "recipes"), Error);
  CHECK_THROWS_AS((void)decode_recipes({0}, "recipes"), Error);
}

TEST_CASE("a chain of pages beyond the format's bound is refused") {
  // Every page refers to the one before it, all in one chunk.
  const Bytes first = test_page(5);
  PageContents pages;
  std::vector<PageRecipe> recipes;
  for (std::uint64_t n = 0; n < 30; ++n) {
    pages[n] = joined(noise(8, n), Bytes(kPageSize - 8, static_cast<std::uint8_t>(n)));
    recipes.push_back(
        {n == 0 ? PageLikeness::zeros : PageLikeness::page, true, 0, n == 0 ? 0u : 1u});
  }
  // One page that is like an image makes the writer use recipes.
  pages[30] = test_page(80);
  const Bytes image = joined(test_page(80), test_page(81));
  const Bytes bytes = recorded({{"initrd", image}}, {pages}, 64);
  recipes.push_back({PageLikeness::image, false, 0, 0});
  Bytes data;
  Bytes before(kPageSize);
  for (std::uint64_t n = 0; n < 30; ++n) {
    for (std::size_t i = 0; i < kPageSize; ++i) {
      data.push_back(static_cast<std::uint8_t>(pages[n][i] ^ before[i]));
    }
    before = pages[n];
  }
  const auto reader = open(with_recipes(bytes, 0, encode_recipes(recipes, data)));
  CHECK(read_page(*reader, pages[kMostPageHops]) == pages[kMostPageHops]);
  CHECK_THROWS_WITH_AS((void)read_page(*reader, pages[kMostPageHops + 1]),
                       doctest::Contains("made from too many others"), Error);
}
