// Lines of source: those in the folders that are allowed, by whatever names debug information
// has for them, and nothing else.
#include "api/source_texts.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace chronovisor::api {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    fs::create_directories(path_ / "allowed/lib");
    write("allowed/main.c", "first\nsecond\r\n\nlast");
    write("allowed/lib/part.c", "part\n");
    write("secret.c", "secret\n");
    fs::create_symlink(path_ / "secret.c", path_ / "allowed/link.c");
    fs::create_symlink(path_, path_ / "allowed/up");
  }
  [[nodiscard]] std::string of(const std::string& name) const { return path_ / name; }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
  }
  testing::TemporaryFolder folder_;
  const fs::path& path_ = folder_.path();
};

}  // namespace

TEST_CASE("lines of source are found by what is there of their files' names") {
  const Folder folder;
  SourceTexts texts({folder.of("allowed")});
  CHECK(texts.line("main.c", 1) == "first");
  CHECK(texts.line("main.c", 2) == "second");
  CHECK(texts.line("main.c", 3) == "");
  CHECK(texts.line("main.c", 4) == "last");
  CHECK_FALSE(texts.line("main.c", 5));
  CHECK_FALSE(texts.line("main.c", 0));
  CHECK(texts.line(folder.of("allowed/main.c"), 1) == "first");
  CHECK(texts.line("/build/of/another/lib/part.c", 1) == "part");
  CHECK(texts.line("../lib/part.c", 1) == "part");
  CHECK_FALSE(texts.line("part.c", 1));
  CHECK_FALSE(texts.line("nowhere.c", 1));
}

TEST_CASE("a name as long as anybody likes is looked for in no time") {
  const Folder folder;
  SourceTexts texts({folder.of("allowed")});
  std::string deep;
  for (int n = 0; n < 1'000; ++n) deep += "a/";
  CHECK(texts.line(deep + "main.c", 1) == "first");
  for (int n = 0; n < 200'000; ++n) deep += "a/";
  CHECK_FALSE(texts.line(deep + "main.c", 1));
}

TEST_CASE("no line is of a file outside the folders") {
  const Folder folder;
  SourceTexts texts({folder.of("allowed")});
  for (const std::string& name :
       {folder.of("secret.c"), std::string("../secret.c"), std::string("lib/../../secret.c"),
        std::string("link.c"), std::string("up/secret.c"), std::string("up"), std::string(),
        std::string("/etc/passwd"), std::string("main.c\0x", 8), std::string("lib"),
        std::string("."), std::string("/")}) {
    CAPTURE(name);
    CHECK_FALSE(texts.line(name, 1));
  }
  SourceTexts none({});
  CHECK_FALSE(none.line(folder.of("allowed/main.c"), 1));
  CHECK_THROWS_AS(SourceTexts({folder.of("secret.c")}), Error);
}

}  // namespace chronovisor::api
