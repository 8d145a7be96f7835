#include "host/allowed_files.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/temporary_folder.h"

using namespace chronovisor;
namespace fs = std::filesystem;

namespace {

struct Folders {
  Folders() {
    fs::create_directories(root / "open/below");
    fs::create_directories(root / "opened");  // whose name begins alike
    std::ofstream(root / "secret") << "x";
    std::ofstream(root / "open/there") << "x";
    fs::create_symlink("../secret", root / "open/link");
    fs::create_symlink("nowhere", root / "open/dangling");
    fs::create_directory_symlink("..", root / "open/up");
    fs::create_directory_symlink("below", root / "open/down");
    fs::create_directory_symlink("open", root / "alias");
  }
  testing::TemporaryFolder folder;
  fs::path root = fs::canonical(folder.path());
};

}  // namespace

TEST_CASE("files may be named in the folder, by where they are") {
  const Folders folders;
  const AllowedFiles files = AllowedFiles::inside(folders.root / "alias");
  const std::string open = (folders.root / "open").string();
  CHECK(files.path("new.cvr") == open + "/new.cvr");
  CHECK(files.path("there") == open + "/there");
  CHECK(files.path("below/new.cvr") == open + "/below/new.cvr");
  CHECK(files.path("below/../new.cvr") == open + "/new.cvr");
  CHECK(files.path("down/new.cvr") == open + "/below/new.cvr");
  CHECK(files.path("up/open/new.cvr") == open + "/new.cvr");
  CHECK(files.path(open + "/new.cvr") == open + "/new.cvr");
  CHECK(files.path((folders.root / "alias/new.cvr").string()) == open + "/new.cvr");
}

TEST_CASE("no name leads out of the folder") {
  const Folders folders;
  const AllowedFiles files = AllowedFiles::inside(folders.root / "open");
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../secret"),
        std::string("../new"), std::string("below/../../new"), std::string("/etc/passwd"),
        std::string("/new"), std::string("up/new"), std::string("up/secret"), std::string("link"),
        std::string("dangling"), std::string("below"), std::string("below/"), std::string("no/new"),
        std::string("../opened/new"), (folders.root / "opened/new").string(),
        std::string("a\0b", 3)}) {
    CAPTURE(name);
    CHECK_THROWS_AS(static_cast<void>(files.path(name)), Error);
  }
}

TEST_CASE("all files, or none, with a word on how to change that") {
  CHECK(AllowedFiles::all().path("../any") == "../any");
  const AllowedFiles none = AllowedFiles::none("do this");
  CHECK_THROWS_WITH_AS(static_cast<void>(none.path("any")),
                       "any: files of this host cannot be named here; do this", Error);
  CHECK_THROWS_AS(static_cast<void>(AllowedFiles::inside("/nonexistent")), Error);
  CHECK_THROWS_AS(static_cast<void>(AllowedFiles::inside("/etc/passwd")), Error);
}
