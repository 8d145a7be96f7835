#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "tests/recorder/counting_file.h"
#include "tests/recorder/sample_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

struct Recorded {
  std::shared_ptr<const Bytes> bytes;
  std::unique_ptr<RecordingWriter> writer;

  explicit Recorded(const WriterOptions& options = {}) {
    auto file = std::make_unique<MemoryOutputFile>();
    bytes = file->bytes();
    writer = std::make_unique<RecordingWriter>(std::move(file), test_id(), "{}", options);
  }
  [[nodiscard]] RecordingReader read() const {
    return RecordingReader(std::make_shared<MemoryInputFile>(*bytes));
  }
};

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

}  // namespace

TEST_CASE("everything written is read back") {
  const RecordingReader reader(std::make_shared<MemoryInputFile>(sample_bytes()));
  CHECK(reader.damage().empty());
  CHECK(reader.verify_bytes().empty());
  CHECK(reader.format_version() == kFormatVersion);
  CHECK(reader.id() == test_id());
  CHECK(reader.metadata_json() == R"({"machine":"pc"})");
  CHECK(reader.summary_json() == R"({"exit":"poweroff"})");
  CHECK(reader.start() == Position{0});
  CHECK(reader.usable_to() == Position{60});

  REQUIRE(reader.images().size() == 2);
  CHECK(reader.images()[0].role == "kernel");
  CHECK(reader.read_image(0, 4096) == Bytes(3000, 0x41));
  CHECK_THROWS_WITH_AS((void)reader.read_image(0, 2999), doctest::Contains("limit"), Error);
  CHECK(reader.images()[1].hash == hash128(Bytes(500, 0x42)));
  CHECK_THROWS_WITH_AS((void)reader.read_image(1, 4096), doctest::Contains("/images/disk"), Error);

  REQUIRE(reader.checkpoints().size() == 2);
  CHECK(reader.checkpoints()[1].position == Position{40});
  CHECK(reader.checkpoints()[1].idle_ns == 20);
  CHECK(reader.checkpoints()[1].parent == 0u);
  CHECK(reader.load_sections(1) ==
        std::vector<Section>{{"cpu", Bytes{1, 2, 3, 40}}, {"pit", Bytes(20)}});
  const TestPages changed{{{1, 13}, {7, 11}, {9, 14}}};
  CHECK(reader.page_delta(1) == changed.records());
  for (const auto& [page, seed] : changed.seeds) {
    Bytes content(kPageSize);
    reader.read_page(hash128(test_page(seed)), PageBytes(content.data(), kPageSize));
    CHECK(content == test_page(seed));
  }
  CHECK(reader.page_delta(0)[1].content == zero_page_hash());

  CHECK(reader.digests() == std::vector<DigestRecord>{{Position{22}, hash128(as_bytes("x"))}});
  REQUIRE(reader.intervals().size() == 1);
  CHECK(reader.load_interval(0) == Bytes{9, 8, 7});
  CHECK(reader.bookmarks() == std::vector<Bookmark>{{Position{41}, "before the crash"}});

  std::string console;
  reader.for_each_console([&](const ConsoleView& view) {
    console += std::to_string(view.position.steps) + ":" + std::to_string(view.idle_ns) + ":";
    console.append(view.bytes.begin(), view.bytes.end());
  });
  CHECK(console == "21:500:hello\n52:600:!");

  InputCursor cursor(reader, Position{20});
  REQUIRE(cursor.peek() != nullptr);
  CHECK(wakeup_idle_ns(*cursor.peek()) == 500);
  cursor.pop();
  CHECK(cursor.peek()->kind == InputKind::key);
  CHECK(cursor.peek()->device == 1);
  cursor.pop();
  CHECK(*cursor.peek() == serial_input(50, 600, 'b'));
  cursor.pop();
  CHECK(cursor.peek() == nullptr);
}

TEST_CASE("a scan finds the same index as the footer says") {
  const Bytes bytes = sample_bytes();
  const RecordingReader reader(std::make_shared<MemoryInputFile>(bytes));
  const MemoryInputFile file(bytes);
  ScanResult scan = scan_recording(file, {kFormatVersion, test_id()});
  CHECK(scan.damage.empty());
  REQUIRE(scan.index.chunks.size() == reader.index().chunks.size() + 1);
  scan.index.chunks.pop_back();  // the footer does not list itself
  scan.index.totals.erase(static_cast<std::uint32_t>(ChunkType::footer));
  CHECK(scan.index == reader.index());
}

TEST_CASE("equal pages and equal images are stored once") {
  Recorded recorded;
  const MemoryInputFile image(random_bytes(3u << 20, 1), "image");
  recorded.writer->embed_image("kernel", "a", image);
  const std::uint64_t with_one = recorded.writer->file_bytes();
  recorded.writer->embed_image("initrd", "b", image);
  CHECK(recorded.writer->file_bytes() - with_one < 200);
  write_checkpoint(*recorded.writer, 0, {}, {{{0, 5}, {1, 5}, {2, 6}, {3, 0}}});
  write_checkpoint(*recorded.writer, 9, 0, {{{0, 6}, {8, 5}}});
  CHECK(recorded.writer->has_page(hash128(test_page(6))));
  CHECK_FALSE(recorded.writer->has_page(hash128(test_page(7))));
  recorded.writer->finish("{}");
  const RecordingReader reader = recorded.read();
  for (const TypeSize& size : reader.sizes()) {
    if (size.type == "page batch") CHECK(size.raw_bytes == 2 * kPageSize);
  }
  CHECK(hash128(reader.read_image(1, 4u << 20)) == reader.images()[0].hash);
}

TEST_CASE("an embedded image reads like a file, at any offset") {
  Recorded recorded;
  const Bytes content = random_bytes((5u << 19) + 77, 2);
  recorded.writer->embed_image("disk0", "a", MemoryInputFile(content, "image"));
  recorded.writer->finish("{}");
  const RecordingReader reader = recorded.read();
  const auto image = reader.open_image(0);
  CHECK(image->size() == content.size());
  std::mt19937_64 random(3);
  for (int round = 0; round < 50; ++round) {
    const std::size_t offset = random() % (content.size() + 10);
    Bytes got(random() % 70'000);
    got.resize(image->read(offset, got));
    const auto start =
        content.begin() + static_cast<std::ptrdiff_t>(std::min(offset, content.size()));
    CHECK(std::equal(got.begin(), got.end(), start));
  }
  Bytes across(8);
  CHECK(image->read((1u << 20) - 4, across) == 8);
  CHECK(image->read(content.size(), across) == 0);
}

TEST_CASE("checkpoints with many pages come back from many threads") {
  Recorded recorded;
  TestPages all;
  for (std::uint64_t page = 0; page < 1000; ++page) all.seeds.emplace_back(page * 3, page);
  write_checkpoint(*recorded.writer, 5, {}, all);
  recorded.writer->finish("{}");
  const RecordingReader reader(std::make_shared<MemoryInputFile>(*recorded.bytes),
                               {.batch_bytes = 2 * kPagesPerBatch * kPageSize});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t start = 0; start < 4; ++start) {
    threads.emplace_back([&, start] {
      Bytes content(kPageSize);
      for (std::uint64_t i = 0; i < 1000; ++i) {
        const Bytes expected = test_page((i * 7 + start * 250) % 1000);
        reader.read_page(hash128(expected), PageBytes(content.data(), kPageSize));
        if (content != expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(reader.page_delta(0) == all.records());
  Bytes content(kPageSize);
  CHECK_THROWS_WITH_AS(
      reader.read_page(hash128(as_bytes("no such page")), PageBytes(content.data(), kPageSize)),
      doctest::Contains("no page with content"), Error);
}

TEST_CASE("opening a large recording reads only header, footer and metadata") {
  Recorded recorded;
  recorded.writer->embed_image("kernel", "k", MemoryInputFile(random_bytes(8u << 20, 4), "k"));
  for (std::uint32_t i = 0; i < 50; ++i) {
    write_checkpoint(*recorded.writer, i, i == 0 ? std::nullopt : std::optional(i - 1),
                     {{{i, i + 1}}});
  }
  recorded.writer->finish("{}");
  const auto file = std::make_shared<CountingFile>(*recorded.bytes);
  const RecordingReader reader(file);
  CHECK(reader.checkpoints().size() == 50);
  CHECK(file->bytes_read < 16'384);
  const std::uint64_t opened = file->bytes_read;
  (void)reader.load_sections(49);
  CHECK(file->bytes_read - opened < 1000);
  CHECK(reader.checkpoint_before(Position{20}) == 20);
  CHECK(reader.checkpoint_before(Position{400}) == 49);
}

TEST_CASE("what is held back is bounded in bytes") {
  Recorded recorded;
  Bytes frame(60'000, 0x55);
  for (std::uint64_t i = 0; i < 100; ++i) {
    recorded.writer->input({Position{i}, 0, InputKind::network_frame, 0, frame});
    recorded.writer->console({Position{i}, 0, ConsoleChannel::serial0, frame});
    CHECK(recorded.writer->held_bytes() <= 1u << 20);
  }
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    recorded.writer->input(serial_input(100 + i, 0, 'x'));
  }
  recorded.writer->finish("{}");
  const RecordingReader reader = recorded.read();
  std::size_t count = 0;
  for (InputCursor cursor(reader); cursor.peek() != nullptr; cursor.pop()) ++count;
  CHECK(count == 200'100);
  CHECK(reader.input_ranges().size() < 20);
}

TEST_CASE("what is held back is bounded in time") {
  Recorded recorded;
  recorded.writer->tick(1'000'000'000);
  const std::size_t before = recorded.bytes->size();
  recorded.writer->input(serial_input(10, 0, 'a'));
  recorded.writer->tick(1'079'999'999);
  CHECK(recorded.bytes->size() == before);
  recorded.writer->tick(1'080'000'000);
  CHECK(recorded.bytes->size() > before);
  CHECK(recorded.read().usable_to() == Position{10});
  recorded.writer->advance_to(Position{5'000});
  recorded.writer->tick(1'200'000'000);
  CHECK(recorded.read().usable_to() == Position{5'000});
  const std::size_t idle = recorded.bytes->size();
  for (std::uint64_t i = 0; i < 100; ++i) recorded.writer->tick(2'000'000'000 + i * 200'000'000);
  CHECK(recorded.bytes->size() == idle);
}

TEST_CASE("the sync policy says when bytes are forced to the medium") {
  for (const SyncPolicy policy : {SyncPolicy::none, SyncPolicy::interval, SyncPolicy::output}) {
    WriterOptions options;
    options.sync = policy;
    auto owned = std::make_unique<MemoryOutputFile>();
    const MemoryOutputFile& file = *owned;
    RecordingWriter writer(std::move(owned), test_id(), "{}", options);
    CHECK((file.synced_bytes() != 0) == (policy != SyncPolicy::none));
    const std::uint64_t at_start = file.synced_bytes();
    writer.input(serial_input(1, 0, 'a'));
    writer.before_output();
    CHECK((file.synced_bytes() == file.size() && writer.held_bytes() == 0) ==
          (policy == SyncPolicy::output));
    writer.flush();
    writer.tick(999'999'999);
    if (policy == SyncPolicy::interval) CHECK(file.synced_bytes() == at_start);
    writer.tick(1'000'000'000);
    if (policy == SyncPolicy::interval) CHECK(file.synced_bytes() == file.size());
    if (policy == SyncPolicy::none) CHECK(file.synced_bytes() == 0);
  }
}

TEST_CASE("a recording on disk is written and read") {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("chronovisor-recording-" + std::to_string(::getpid()) + ".cvr");
  write_sample(std::make_unique<PosixOutputFile>(path, ExistingFile::replace));
  CHECK_THROWS_WITH_AS(PosixOutputFile(path, ExistingFile::refuse),
                       doctest::Contains("File exists"), Error);
  {
    const RecordingReader reader(path);
    CHECK(reader.verify_bytes().empty());
    CHECK(reader.usable_to() == Position{60});
  }
  std::filesystem::remove(path);
  CHECK_THROWS_WITH_AS(RecordingReader{path}, doctest::Contains("No such file"), Error);
}

TEST_CASE("a trimmed recording starts where it says") {
  WriterOptions options;
  options.start = Position{1000};
  Recorded recorded(options);
  write_checkpoint(*recorded.writer, 1000, {}, {{{1, 1}}});
  recorded.writer->input(serial_input(1001, 0, 'a'));
  recorded.writer->finish("{}");
  const RecordingReader reader = recorded.read();
  CHECK(reader.start() == Position{1000});
  CHECK(reader.usable_to() == Position{1001});
}
