#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "recorder/edit/bookmark_edit.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/console_watch.h"
#include "recorder/live/flight_recorder.h"
#include "tests/recorder/sample_recording.h"
#include "tests/temporary_folder.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

constexpr std::uint64_t kSpacing = 1000;

void write_steps(RecordingWriter& writer, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t steps = from; steps < to; steps += 100) {
    writer.input(serial_input(steps + 7, steps / 10, static_cast<char>('a' + steps / 100 % 26)));
    writer.console({Position{steps + 9}, steps / 10, ConsoleChannel::serial0, as_bytes("x\n")});
  }
}

void write_full_checkpoint(RecordingWriter& writer, std::uint64_t steps) {
  const std::uint64_t n = steps / kSpacing;
  const std::size_t count = writer.checkpoint_count();
  writer.digest({Position{steps}, hash128(as_bytes("digest " + std::to_string(steps)))});
  if (count == 0) {
    write_checkpoint(writer, steps, {}, {{{1, n + 1}, {2, 5}, {3 + n % 3, 90 + n}}});
  } else {
    const std::uint64_t before = 3 + (n - 1) % 3;
    TestPages pages{{{1, n + 1}, {before, 0}, {3 + n % 3, 90 + n}}};
    std::sort(pages.seeds.begin(), pages.seeds.end());
    write_checkpoint(writer, steps, static_cast<std::uint32_t>(count - 1), pages);
  }
}

/// A run of ten checkpoints with inputs and output between them.
Bytes long_recording() {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), test_id(), StartCondition{}.to_json());
  writer.embed_image("kernel", "/boot/vmlinuz", MemoryInputFile(Bytes(3000, 0x41), "vmlinuz"));
  for (std::uint64_t steps = 0; steps < 10 * kSpacing; steps += kSpacing) {
    write_full_checkpoint(writer, steps);
    write_steps(writer, steps, steps + kSpacing);
  }
  writer.bookmark({Position{2500}, "early"});
  writer.bookmark({Position{7500}, "late"});
  writer.advance_to(Position{10 * kSpacing});
  writer.finish(R"({"exit":{"reason":"poweroff","code":0}})");
  return *bytes;
}

/// The seeds of all pages at a checkpoint of long_recording.
std::vector<PageRecord> expected_pages(std::uint64_t steps) {
  const std::uint64_t n = steps / kSpacing;
  return TestPages{{{1, n + 1}, {2, 5}, {3 + n % 3, 90 + n}}}.records();
}

std::vector<PageRecord> pages_at(const RecordingReader& reader, std::size_t checkpoint) {
  std::map<std::uint64_t, Hash128> pages;
  std::optional<std::size_t> at = checkpoint;
  while (at) {
    for (const PageRecord& page : reader.page_delta(*at)) pages.emplace(page.page, page.content);
    const auto& parent = reader.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  std::vector<PageRecord> list;
  for (const auto& [page, content] : pages) {
    if (content == hash128(Bytes(kPageSize))) continue;
    list.push_back({page, content});
    std::array<std::uint8_t, kPageSize> bytes{};
    reader.read_page(content, bytes);
  }
  return list;
}

std::vector<InputEvent> inputs_of(const RecordingReader& reader) {
  std::vector<InputEvent> events;
  for (InputCursor cursor(reader); const InputEvent* event = cursor.peek(); cursor.pop()) {
    events.push_back(*event);
  }
  return events;
}

std::string console_of(const RecordingReader& reader) {
  std::string text;
  reader.for_each_console(
      [&](const ConsoleView& view) { text.append(view.bytes.begin(), view.bytes.end()); });
  return text;
}

std::unique_ptr<RecordingReader> rewritten(const Bytes& source, const RewriteOptions& options) {
  const RecordingReader reader(std::make_shared<MemoryInputFile>(source));
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  const RecordingReader* const sources[] = {&reader};
  rewrite_recording(sources, std::move(file), options);
  auto result = std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
  CHECK(result->verify_bytes().empty());
  return result;
}

}  // namespace

TEST_CASE("a recording rewritten whole holds the same") {
  const Bytes source = long_recording();
  const RecordingReader before(std::make_shared<MemoryInputFile>(source));
  const auto after = rewritten(source, {});
  CHECK(after->metadata_json() == before.metadata_json());
  CHECK(after->summary_json() == before.summary_json());
  CHECK(inputs_of(*after) == inputs_of(before));
  CHECK(after->digests() == before.digests());
  CHECK(console_of(*after) == console_of(before));
  CHECK(after->bookmarks() == before.bookmarks());
  CHECK(after->usable_to() == before.usable_to());
  CHECK(after->images().size() == 1);
  REQUIRE(after->checkpoints().size() == 10);
  for (std::size_t i = 0; i < 10; ++i) CHECK(pages_at(*after, i) == expected_pages(i * kSpacing));
}

TEST_CASE("thinning keeps every Nth checkpoint with all its pages and every digest") {
  RewriteOptions options;
  options.keep_every = 4;
  const auto after = rewritten(long_recording(), options);
  REQUIRE(after->checkpoints().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(after->checkpoints()[i].position.steps == i * 4 * kSpacing);
    CHECK(pages_at(*after, i) == expected_pages(i * 4 * kSpacing));
  }
  CHECK(after->digests().size() == 10);
}

TEST_CASE("a trimmed recording starts at a checkpoint and ends where it was told to") {
  RewriteOptions options;
  options.from = Position{4321};
  options.to = Position{7777};
  options.keep_every = 0;
  const auto after = rewritten(long_recording(), options);
  CHECK(after->start() == Position{4000});
  CHECK(after->usable_to() == Position{7777});
  REQUIRE(after->checkpoints().size() == 1);
  CHECK(pages_at(*after, 0) == expected_pages(4000));
  CHECK(after->images().empty());
  CHECK_FALSE(after->summary_json().has_value());
  const std::vector<InputEvent> events = inputs_of(*after);
  REQUIRE(!events.empty());
  CHECK(events.front().position == Position{4007});
  CHECK(events.back().position == Position{7707});
  REQUIRE(after->bookmarks().size() == 1);
  CHECK(after->bookmarks()[0].name == "late");
}

TEST_CASE("trimming to nothing is refused") {
  RewriteOptions options;
  options.from = Position{9000};
  options.to = Position{100};
  CHECK_THROWS_WITH_AS(rewritten(long_recording(), options), doctest::Contains("nothing lies"),
                       Error);
}

TEST_CASE("a bookmark is added to a finished recording, and survives the loss of the footer") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  const Bytes source = long_recording();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(source.data()),
             static_cast<std::streamsize>(source.size()));
  append_bookmark(path, {Position{1234}, "mine"});
  append_bookmark(path, {Position{5}, "another"});
  const RecordingReader reader(path);
  CHECK(reader.damage().empty());
  CHECK(reader.verify_bytes().empty());
  REQUIRE(reader.bookmarks().size() == 4);
  CHECK(reader.bookmarks()[2] == Bookmark{Position{1234}, "mine"});
  CHECK(reader.summary_json().has_value());
  CHECK_THROWS_AS(append_bookmark(path, {Position{999999}, "far"}), Error);

  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK(RecordingReader(path).bookmarks().size() == 4);
  CHECK_THROWS_WITH_AS(append_bookmark(path, {Position{1}, "torn"}),
                       doctest::Contains("whole recording"), Error);
}

TEST_CASE("bookmarks are taken away and moved, also for whoever scans, while a reader is open") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  const Bytes source = long_recording();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(source.data()),
             static_cast<std::streamsize>(source.size()));
  const RecordingReader opened(path);
  const std::vector<Bookmark> first = opened.bookmarks();
  REQUIRE(first.size() == 2);
  CHECK_THROWS_WITH_AS(append_bookmark(path, {Position{1}, "early"}),
                       doctest::Contains("has a bookmark"), Error);
  CHECK_THROWS_WITH_AS(remove_bookmark(path, "never"), doctest::Contains("no bookmark"), Error);
  remove_bookmark(path, "early");
  move_bookmark(path, {Position{77}, "late"});
  const std::vector<Bookmark> expected{{Position{77}, "late"}};
  CHECK(RecordingReader(path).bookmarks() == expected);
  CHECK(RecordingReader(path).verify_bytes().empty());
  // The name is free again, and the reader that was open knows what it knew.
  append_bookmark(path, {Position{8}, "early"});
  CHECK(RecordingReader(path).bookmarks().size() == 2);
  CHECK(opened.bookmarks() == first);
  CHECK(opened.checkpoints().size() == RecordingReader(path).checkpoints().size());
  for (std::size_t n = 0; n < opened.checkpoints().size(); ++n) {
    CHECK_NOTHROW((void)opened.load_sections(n));
  }
  // What is packed has only what is left, and a lost footer changes nothing.
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK(RecordingReader(path).bookmarks().size() == 2);
}

TEST_CASE("a flight recording keeps the last stretch, and is one ordinary recording") {
  const TemporaryFolder folder;
  const std::string path = folder.file("flight.cvr");
  constexpr std::uint64_t kLong = 1'000'000;  // steps between checkpoints here
  const KeepPolicy keep{KeepPolicy::Unit::virtual_time, 5 * kLong};
  const auto counter = [](std::uint64_t steps) {
    return TapeCounter{Position{steps}, steps, steps};
  };
  std::uint64_t most_files = 0;
  {
    FlightRecorder flight(path, StartCondition{}.to_json(), {}, keep, counter(0),
                          [](RecordingWriter& writer) {
                            writer.embed_image("kernel", "k", MemoryInputFile(Bytes(100, 1), "k"));
                          });
    const auto checkpoint = [&](std::uint64_t steps) {
      const std::size_t count = flight.writer().checkpoint_count();
      CheckpointRecord record;
      record.position = Position{steps};
      record.digest = hash128(as_bytes(std::to_string(steps)));
      if (count > 0) record.parent = static_cast<std::uint32_t>(count - 1);
      record.sections = {{"cpu", Bytes{1}}};
      const TestPages pages{{{1, steps / kLong + 1}, {2, 5}}};
      record.pages = pages.records();
      if (count > 0) record.pages.resize(1);
      flight.writer().checkpoint(record, pages.provider());
    };
    for (std::uint64_t steps = 0; steps < 23 * kLong; steps += kLong) {
      if (flight.is_due(counter(steps))) {
        flight.begin_segment(counter(steps));
        checkpoint(steps);
        flight.commit_segment();
      } else {
        checkpoint(steps);
      }
      flight.writer().input(serial_input(steps + 500, 0, 'k'));
      std::uint64_t files = 0;
      for (const char* suffix : {"", ".older", ".new"}) {
        files += std::filesystem::exists(path + suffix) ? 1 : 0;
      }
      most_files = std::max(most_files, files);
      // A kill here leaves recordings that open.
      CHECK(RecordingReader(path).metadata_json() == StartCondition{}.to_json());
    }
    flight.writer().advance_to(Position{23 * kLong});
    CHECK(flight.segments() == 5);
    flight.finish(R"({"exit":{"reason":"limit"}})", counter(23 * kLong));
  }
  CHECK(most_files == 2);
  CHECK_FALSE(std::filesystem::exists(path + ".older"));
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
  const RecordingReader reader(path);
  CHECK(reader.verify_bytes().empty());
  CHECK(reader.start() == Position{18 * kLong});
  CHECK(reader.usable_to() == Position{23 * kLong});
  REQUIRE(reader.checkpoints().size() == 5);
  CHECK(pages_at(reader, 4) == TestPages{{{1, 23}, {2, 5}}}.records());
  CHECK(inputs_of(reader).size() == 5);
  CHECK(reader.images().empty());
  CHECK(reader.summary_json().has_value());
}

TEST_CASE("a crashing kernel's messages are found where their lines begin") {
  const std::vector<std::pair<std::string, std::string>> lines{
      {"[ 1.0] all is well, no Oop s\r\n", ""},
      {"[ 1.1] BUG: kernel NULL pointer Oops\r\n", "bug"},
      {"[ 1.2] Oops: 0000 [#1]\n", "oops"},
      {"[ 1.3] Kernel panic - not syncing: dead\n", "panic"},
      {"Kernel panic - not syncing again\n", "panic-2"}};
  ConsoleWatch watch;
  CrashBookmarks names;
  std::vector<Bookmark> found;
  std::vector<Bookmark> expected;
  std::uint64_t position = 0;
  for (const auto& [line, name] : lines) {
    if (!name.empty()) expected.push_back({Position{position}, name});
    for (const char c : line) {
      const auto message = watch.add(Position{position}, static_cast<std::uint8_t>(c));
      ++position;
      if (!message) continue;
      if (const auto bookmark = names.next(*message, watch.line_start()))
        found.push_back(*bookmark);
    }
  }
  CHECK(found == expected);
}
