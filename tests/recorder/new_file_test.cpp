#include "recorder/edit/new_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "tests/recorder/sample_recording.h"
#include "tests/temporary_folder.h"

using namespace chronovisor;
using testing::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

std::size_t files_in(const TemporaryFolder& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path()), {}));
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

ErrorCode refusal(const OutputPlan& plan) {
  try {
    require_free_output(plan);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode{};
}

}  // namespace

TEST_CASE("a file that is read is not written, by no name of it and not by force") {
  const TemporaryFolder folder;
  put(folder.file("in"), "input");
  fs::create_symlink(folder.file("in"), folder.file("soft"));
  fs::create_hard_link(folder.file("in"), folder.file("hard"));
  for (const char* name : {"in", "soft", "hard"}) {
    for (const bool force : {false, true}) {
      CHECK(refusal({folder.file(name), {folder.file("other"), folder.file("in")}, force}) ==
            ErrorCode::usage);
      CHECK_THROWS_AS(NewFile({folder.file(name), {folder.file("in")}, force}), Error);
    }
  }
  CHECK(contents(folder.file("in")) == "input");
}

TEST_CASE("what is there is replaced by force; recordings where it is said that they may go") {
  const TemporaryFolder folder;
  put(folder.file("letter"), "dear user");
  put(folder.file("empty"), "");
  CHECK(refusal({folder.file("letter"), {}}) == ErrorCode::usage);
  CHECK(refusal({folder.file("letter"), {}, false, Replaceable::recordings}) == ErrorCode::usage);
  CHECK(refusal({folder.file("letter"), {}, true}) == ErrorCode{});
  CHECK(refusal({folder.file("empty"), {}}) == ErrorCode{});
  CHECK(refusal({folder.file("none"), {}}) == ErrorCode{});
  CHECK(refusal({"/dev/null", {}}) == ErrorCode{});
  MemoryOutputFile recording;
  const auto bytes = recording.bytes();
  RecordingWriter writer(std::make_unique<MemoryOutputFile>(recording), FileId::random(), "{}");
  writer.finish(std::nullopt);
  std::ofstream(folder.file("run.cvr"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes->data()),
             static_cast<std::streamsize>(bytes->size()));
  CHECK(refusal({folder.file("run.cvr"), {}, false, Replaceable::recordings}) == ErrorCode{});
  CHECK(refusal({folder.file("run.cvr"), {}}) == ErrorCode::usage);
  CHECK_THROWS_AS(require_free_serial("file:" + folder.file("run.cvr"), {"", {}}), Error);
  CHECK_NOTHROW(require_free_serial("file:" + folder.file("letter"), {"", {}}));
  CHECK_THROWS_AS(
      require_free_serial("file:" + folder.file("letter"), {"", {folder.file("letter")}, true}),
      Error);
  CHECK_NOTHROW(require_free_serial("stdio", {"", {}}));
}

TEST_CASE("a new file has its name when it is committed, and is gone otherwise") {
  const TemporaryFolder folder;
  put(folder.file("out"), "before");
  fs::permissions(folder.file("out"), fs::perms::owner_read | fs::perms::owner_write);
  {
    NewFile file({folder.file("out"), {}, true});
    file.open()->append(as_bytes("after"));
    CHECK(contents(folder.file("out")) == "before");
    CHECK(contents(file.name_until_commit()) == "after");
  }
  CHECK(contents(folder.file("out")) == "before");
  CHECK(files_in(folder) == 1);
  fs::create_symlink(folder.file("out"), folder.file("link"));
  NewFile file({folder.file("link"), {}, true});
  file.open()->append(as_bytes("after"));
  file.commit();
  CHECK(contents(folder.file("out")) == "after");
  CHECK(fs::is_symlink(folder.file("link")));
  CHECK(fs::status(folder.file("out")).permissions() ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(files_in(folder) == 2);
}

TEST_CASE("an interrupt ends the writing, and messages name the file as it was asked for") {
  const TemporaryFolder folder;
  std::atomic<bool> cancel{false};
  {
    NewFile file({folder.file("out"), {}}, cancel);
    const auto output = file.open();
    output->append(as_bytes("first"));
    cancel = true;
    try {
      output->append(as_bytes("second"));
      FAIL("the interrupt was not noticed");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::host);
      CHECK(std::string(error.what()).starts_with(folder.file("out") + ":"));
    }
  }
  CHECK(files_in(folder) == 0);
  try {
    NewFile file({folder.file("no/such/place"), {}});
    (void)file.open();
    FAIL("there is no such folder");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::host);
    CHECK(std::string(error.what()).starts_with(folder.file("no/such/place") + ":"));
  }
}

TEST_CASE("what a command that was killed has left is removed by the next that writes the same") {
  const TemporaryFolder folder;
  const std::string target = folder.file("out.cvr");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    NewFile file({target});
    const auto out = file.open();
    out->append(as_bytes("half of it"));
    ::_exit(0);  // as a kill does: nothing is removed
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  put(folder.file("out.cvr.new"), "another's");
  put(folder.file("out.cvr.1-0.new"), "that of a process that is there");
  put(folder.file("out.cvr.12x-0.new"), "no such name");
  CHECK(files_in(folder) == 4);
  {
    NewFile file({target});
    const auto out = file.open();
    REQUIRE(file.removed().size() == 1);
    CHECK(fs::path(file.removed()[0]).filename() == "out.cvr." + std::to_string(child) + "-0.new");
    // One at work is left alone.
    NewFile other({target});
    const auto beside = other.open();
    CHECK(other.removed().empty());
  }
  CHECK(files_in(folder) == 3);
}
