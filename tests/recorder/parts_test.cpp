// A recording in several files is one recording: whatever is read of it is what one file
// would say, and what is missed is named.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "recorder/edit/bookmark_edit.h"
#include "recorder/edit/index_edit.h"
#include "recorder/format/frame_cursor.h"
#include "tests/recorder/parts_sample.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

std::vector<std::uint64_t> packets_of(const RecordingReader& reader) {
  std::vector<std::uint64_t> all;
  PacketCursor packets(reader);
  while (const auto packet = packets.next()) {
    all.push_back(packet->place.number);
    all.push_back(packet->place.position.steps);
    all.push_back(packet->sent != nullptr ? packet->sent->received : 0);
  }
  return all;
}

std::vector<std::string> messages_of(const RecordingReader& reader) {
  std::vector<std::string> all;
  for (const Damage& damage : reader.damage()) all.push_back(damage.message);
  return all;
}

}  // namespace

TEST_CASE("parts read as the one recording that they are of") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  REQUIRE(write_parts(path) == 4);
  const RecordingReader whole(std::make_shared<MemoryInputFile>(in_one_file()));
  const RecordingReader parted(path);
  CHECK(parted.damage().empty());
  CHECK(parted.verify_bytes().empty());
  CHECK(parted.parts().size() == 4);
  CHECK(parted.start() == whole.start());
  CHECK(parted.usable_to() == whole.usable_to());
  CHECK(parted.checkpoints().size() == whole.checkpoints().size());
  CHECK(parted.intervals().size() == whole.intervals().size());
  CHECK(parted.digest_count() == whole.digest_count());
  CHECK(parted.input_counts() == whole.input_counts());
  CHECK(packets_of(parted) == packets_of(whole));
  CHECK(packets_of(parted).size() == 13 * 2 * 3);
  CHECK(parted.block_entries().size() >= whole.block_entries().size());
  CHECK(facts_of(parted) == facts_of(whole));
  for (std::uint64_t n = 0; n < kCheckpoints; ++n) {
    CHECK(parted.checkpoint_before(Position{n * kSpacing + 5}) == n);
  }
  Bytes block(kBlockBytes);
  REQUIRE(parted.read_block(0, kBlockOfDisk + 3, std::span(block).first<kBlockBytes>()) ==
          BlockKind::kept);
  CHECK(block == test_page(503));
}

TEST_CASE("each part is a recording by itself, and opens with those behind it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  for (const bool alone : {true, false}) {
    ReaderOptions how;
    how.alone = alone;
    const RecordingReader third(path + ".part3", how);
    CHECK(third.damage().empty());
    CHECK(third.verify_bytes().empty());
    CHECK(third.start() == Position{20 * kSpacing});
    CHECK(third.usable_to() == Position{(alone ? 30 : 40) * kSpacing});
    CHECK(third.checkpoints().size() == (alone ? 10 : 20));
    CHECK(third.summary_json().has_value() != alone);
    CHECK(third.parts().front().number == 3);
    const auto facts = facts_of(third);
    CHECK(facts.size() > 50);
  }
}

TEST_CASE("a part that is missing, or is another recording's, is named") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  std::filesystem::rename(path + ".part3", folder.file("away"));
  {
    const RecordingReader reader(path);
    CHECK(reader.usable_to() == Position{20 * kSpacing});
    CHECK(reader.checkpoints().size() == 20);
    REQUIRE(reader.damage().size() == 1);
    CHECK(reader.damage()[0].kind == DamageKind::missing_part);
    CHECK(reader.damage()[0].message.find("run.cvr.part3: part 3 is missing") != std::string::npos);
    CHECK(reader.verify_bytes().size() == 1);
    CHECK(RecordingReader(path + ".part4").usable_to() == Position{40 * kSpacing});
  }
  // One of another run in its place.
  write_parts(folder.file("other.cvr"));
  std::filesystem::copy_file(folder.file("other.cvr.part3"), path + ".part3");
  CHECK(messages_of(RecordingReader(path)).at(0).find("is not part 3 of the recording") !=
        std::string::npos);
  // The right run, the wrong part.
  std::filesystem::copy_file(path + ".part2", path + ".part3",
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(messages_of(RecordingReader(path)).at(0).find("is not part 3 of the recording") !=
        std::string::npos);
  // No recording at all.
  std::ofstream(path + ".part3") << "nothing";
  CHECK(RecordingReader(path).usable_to() == Position{20 * kSpacing});
  CHECK(messages_of(RecordingReader(path)).at(0).find("part3") != std::string::npos);
}

TEST_CASE("what is in a part's place and no file of a recording is named") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  const std::string third = path + ".part3";
  const std::vector<std::function<void()>> others = {
      [&] { REQUIRE(::mkfifo(third.c_str(), 0600) == 0); },
      [&] { std::filesystem::create_directory(third); },
      [&] { std::filesystem::create_symlink("/dev/zero", third); },
      [&] { std::filesystem::create_symlink(third, third); },
  };
  for (const auto& put : others) {
    std::filesystem::remove(third);
    put();
    const RecordingReader reader(path);
    CHECK(reader.usable_to() == Position{20 * kSpacing});
    CHECK(reader.checkpoints().size() == 20);
    REQUIRE(reader.damage().size() == 1);
    CHECK(reader.damage()[0].kind == DamageKind::missing_part);
    CHECK(reader.damage()[0].message.find("run.cvr.part3: ") == folder.file("").size());
    CHECK(RecordingReader(path + ".part4").usable_to() == Position{40 * kSpacing});
  }
}

TEST_CASE("parts that must be larger than was asked for are told of") {
  const TemporaryFolder folder;
  for (const std::uint64_t asked : {std::uint64_t{1}, std::uint64_t{1} << 30}) {
    PartedRecorder tape(folder.file("run.cvr"), StartCondition{}.to_json(), {},
                        {.part_bytes = asked, .least_steps = 10}, counter(0), embed);
    write_checkpoint_of_run(tape.writer(), 0);
    CHECK_FALSE(tape.larger_than_asked());
    tape.begin_segment(counter(kSpacing));
    CHECK_FALSE(tape.larger_than_asked());
    write_checkpoint_of_run(tape.writer(), 1);
    tape.commit_segment();
    CHECK(tape.larger_than_asked().has_value() == (asked == 1));
    if (asked == 1) CHECK(*tape.larger_than_asked() == 2 * tape.writer().file_bytes());
    tape.finish(kSummary, counter(kSpacing));
  }
}

TEST_CASE("a recorder that is killed leaves its parts, and the last one as far as it got") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path, 1, false);
  {
    const RecordingReader reader(path);
    REQUIRE(reader.damage().size() == 1);
    CHECK(reader.damage()[0].kind == DamageKind::unfinished);
    CHECK(reader.damage()[0].message.find("run.cvr.part4") != std::string::npos);
    CHECK(reader.usable_to() == Position{40 * kSpacing});
    CHECK(reader.checkpoints().size() == 40);
    const RecordingReader whole(std::make_shared<MemoryInputFile>(in_one_file()));
    CHECK(packets_of(reader) == packets_of(whole));
    std::vector<std::string> facts = facts_of(whole);
    std::erase(facts, "summary " + std::string(kSummary));
    std::vector<std::string> killed = facts_of(reader);
    std::erase(killed, "summary -");
    CHECK(killed == facts);
  }
  // At any byte of the last part: never more than it says, and never less than before it.
  const auto size = std::filesystem::file_size(path + ".part4");
  std::uint64_t before = 40 * kSpacing;
  for (std::uintmax_t left = size; left > 61; left -= std::min<std::uintmax_t>(left - 61, 611)) {
    std::filesystem::resize_file(path + ".part4", left);
    const RecordingReader reader(path);
    CHECK(reader.usable_to() >= Position{30 * kSpacing});
    CHECK(reader.usable_to() <= Position{before});
    before = reader.usable_to().steps;
    CHECK_FALSE(reader.damage().empty());
  }
  // Begun and nothing in it: the others say that there is one.
  CHECK(before == 30 * kSpacing);
  std::filesystem::remove(path + ".part4");
  CHECK(messages_of(RecordingReader(path)).at(0).find("part 4 is missing") != std::string::npos);
}

TEST_CASE("a part whose footer is lost is found again, and the parts behind it are numbered on") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  const std::string second = path + ".part2";
  std::filesystem::resize_file(second, std::filesystem::file_size(second) - 3);
  const RecordingReader reader(path);
  CHECK(reader.damage().size() == 1);
  CHECK(reader.usable_to() == Position{40 * kSpacing});
  const RecordingReader whole(std::make_shared<MemoryInputFile>(in_one_file()));
  CHECK(facts_of(reader) == facts_of(whole));
}

TEST_CASE("checkpoints of old parts are thinned while the recording grows") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  REQUIRE(write_parts(path, 2) == 4);
  const RecordingReader reader(path);
  CHECK(reader.damage().empty());
  CHECK(reader.verify_bytes().empty());
  std::vector<std::size_t> left;
  for (const RecordingReader::Part& part : reader.parts()) {
    ReaderOptions how;
    how.alone = true;
    left.push_back(RecordingReader(part.file, how).checkpoints().size());
  }
  CHECK(left == std::vector<std::size_t>{5, 5, 10, 10});
  const RecordingReader whole(std::make_shared<MemoryInputFile>(in_one_file()));
  CHECK(reader.digest_count() == whole.digest_count());
  CHECK(reader.usable_to() == whole.usable_to());
  CHECK(packets_of(reader) == packets_of(whole));
  CHECK(reader.bookmarks() == whole.bookmarks());
  CHECK(reader.intervals().size() == whole.intervals().size());
  // What is left is what it was.
  for (std::size_t n = 0; n < reader.checkpoints().size(); ++n) {
    const CheckpointInfo info = reader.checkpoints()[n];
    const auto same = whole.checkpoint_before(info.position);
    REQUIRE(same);
    CHECK(whole.checkpoints()[*same].digest == info.digest);
    CHECK(reader.load_sections(n) == whole.load_sections(*same));
  }
}

TEST_CASE("what is added to a recording in parts is found in it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  append_bookmark(path, {Position{12'345}, "mine"});
  CHECK_THROWS_AS(append_bookmark(path, {Position{1}, "five"}), Error);
  move_bookmark(path, {Position{77}, "five"});
  const std::vector<Bookmark> expected{{Position{12'345}, "mine"}, {Position{77}, "five"}};
  CHECK(RecordingReader(path).bookmarks() == expected);
  remove_bookmark(path, "mine");
  CHECK(RecordingReader(path).bookmarks().size() == 1);
  const NewInterval interval{Position{39 * kSpacing}, Position{40 * kSpacing}, {1, 2, 3}};
  append_intervals(path, {&interval, 1});
  const RecordingReader reader(path);
  CHECK(reader.damage().empty());
  CHECK(reader.verify_bytes().empty());
  CHECK(reader.intervals().size() == kCheckpoints);
  CHECK(reader.load_interval(kCheckpoints - 1) == interval.data);
}

TEST_CASE("an earlier recording's parts do not outlive it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.cvr");
  write_parts(path);
  const PartedRecorder tape(path, StartCondition{}.to_json(), {}, {.part_bytes = 1}, counter(0),
                            embed);
  CHECK_FALSE(std::filesystem::exists(path + ".part2"));
  CHECK_FALSE(std::filesystem::exists(path + ".part4"));
}
