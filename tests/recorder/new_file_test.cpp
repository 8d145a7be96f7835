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

using namespace chronovisor;

namespace {

namespace fs = std::filesystem;

/// A folder that goes with what is in it.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "chronovisor-new-file-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string operator()(const char* name) const { return (path_ / name).string(); }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {}));
  }

 private:
  fs::path path_;
};

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
  const Folder folder;
  put(folder("in"), "input");
  fs::create_symlink(folder("in"), folder("soft"));
  fs::create_hard_link(folder("in"), folder("hard"));
  for (const char* name : {"in", "soft", "hard"}) {
    for (const bool force : {false, true}) {
      CHECK(refusal({folder(name), {folder("other"), folder("in")}, force}) == ErrorCode::usage);
      CHECK_THROWS_AS(NewFile({folder(name), {folder("in")}, force}), Error);
    }
  }
  CHECK(contents(folder("in")) == "input");
}

TEST_CASE("what is there is replaced by force; recordings where it is said that they may go") {
  const Folder folder;
  put(folder("letter"), "dear user");
  put(folder("empty"), "");
  CHECK(refusal({folder("letter"), {}}) == ErrorCode::usage);
  CHECK(refusal({folder("letter"), {}, false, Replaceable::recordings}) == ErrorCode::usage);
  CHECK(refusal({folder("letter"), {}, true}) == ErrorCode{});
  CHECK(refusal({folder("empty"), {}}) == ErrorCode{});
  CHECK(refusal({folder("none"), {}}) == ErrorCode{});
  CHECK(refusal({"/dev/null", {}}) == ErrorCode{});
  MemoryOutputFile recording;
  const auto bytes = recording.bytes();
  RecordingWriter writer(std::make_unique<MemoryOutputFile>(recording), FileId::random(), "{}");
  writer.finish(std::nullopt);
  std::ofstream(folder("run.cvr"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes->data()),
             static_cast<std::streamsize>(bytes->size()));
  CHECK(refusal({folder("run.cvr"), {}, false, Replaceable::recordings}) == ErrorCode{});
  CHECK(refusal({folder("run.cvr"), {}}) == ErrorCode::usage);
  CHECK_THROWS_AS(require_free_serial("file:" + folder("run.cvr"), {"", {}}), Error);
  CHECK_NOTHROW(require_free_serial("file:" + folder("letter"), {"", {}}));
  CHECK_THROWS_AS(require_free_serial("file:" + folder("letter"), {"", {folder("letter")}, true}),
                  Error);
  CHECK_NOTHROW(require_free_serial("stdio", {"", {}}));
}

TEST_CASE("a new file has its name when it is committed, and is gone otherwise") {
  const Folder folder;
  put(folder("out"), "before");
  fs::permissions(folder("out"), fs::perms::owner_read | fs::perms::owner_write);
  {
    NewFile file({folder("out"), {}, true});
    file.open()->append(as_bytes("after"));
    CHECK(contents(folder("out")) == "before");
    CHECK(contents(file.name_until_commit()) == "after");
  }
  CHECK(contents(folder("out")) == "before");
  CHECK(folder.files() == 1);
  fs::create_symlink(folder("out"), folder("link"));
  NewFile file({folder("link"), {}, true});
  file.open()->append(as_bytes("after"));
  file.commit();
  CHECK(contents(folder("out")) == "after");
  CHECK(fs::is_symlink(folder("link")));
  CHECK(fs::status(folder("out")).permissions() ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(folder.files() == 2);
}

TEST_CASE("an interrupt ends the writing, and messages name the file as it was asked for") {
  const Folder folder;
  std::atomic<bool> cancel{false};
  {
    NewFile file({folder("out"), {}}, cancel);
    const auto output = file.open();
    output->append(as_bytes("first"));
    cancel = true;
    try {
      output->append(as_bytes("second"));
      FAIL("the interrupt was not noticed");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::host);
      CHECK(std::string(error.what()).starts_with(folder("out") + ":"));
    }
  }
  CHECK(folder.files() == 0);
  try {
    NewFile file({folder("no/such/place"), {}});
    (void)file.open();
    FAIL("there is no such folder");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::host);
    CHECK(std::string(error.what()).starts_with(folder("no/such/place") + ":"));
  }
}

TEST_CASE("what a command that was killed has left is removed by the next that writes the same") {
  const Folder folder;
  const std::string target = folder("out.cvr");
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
  put(folder("out.cvr.new"), "another's");
  put(folder("out.cvr.1-0.new"), "that of a process that is there");
  put(folder("out.cvr.12x-0.new"), "no such name");
  CHECK(folder.files() == 4);
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
  CHECK(folder.files() == 3);
}
