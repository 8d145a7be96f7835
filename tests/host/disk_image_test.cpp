// Images that are not what they were said to be, or end while they are used.
#include "host/disk_image.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"

namespace chronovisor {
namespace {

class ImageFile {
 public:
  explicit ImageFile(std::size_t bytes)
      : path_(std::filesystem::temp_directory_path() /
              ("chronovisor-image-" + std::to_string(::getpid()))) {
    std::ofstream(path_) << std::string(bytes, 'x');
  }
  ~ImageFile() { std::filesystem::remove(path_); }
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }
  void cut(std::size_t bytes) const { std::filesystem::resize_file(path_, bytes); }

 private:
  std::filesystem::path path_;
};

TEST_CASE("an image that has become shorter is told of once, and is the guest's error") {
  const ImageFile file(40'000);
  HostMedia media;
  std::vector<std::string> told;
  media.on_trouble([&](const std::string& message) { told.push_back(message); });
  const std::uint32_t medium = media.add(open_disk_image(file.path(), "raw"), "disk.img");
  std::array<std::uint8_t, kMediumBlockBytes> block{};
  CHECK(media.read_block(medium, 3, block));
  CHECK(told.empty());
  file.cut(10'000);
  CHECK(media.read_block(medium, 1, block));
  CHECK_FALSE(media.read_block(medium, 3, block));
  CHECK_FALSE(media.read_block(medium, 4, block));
  REQUIRE(told.size() == 1);
  CHECK(told[0] ==
        "disk.img: byte 12288 and what follows cannot be read, or are there no more: an I/O error "
        "for the guest");
}

TEST_CASE("a format that the first bytes contradict is refused by both names") {
  const ImageFile file(40'000);
  for (const std::string format : {"qcow2", "vmdk", "vdi", "vhdx"}) {
    CAPTURE(format);
    CHECK_THROWS_WITH_AS((void)open_disk_image(file.path(), format),
                         (file.path() + ": was given as " + format +
                          ", but its first bytes are those of a raw image; leave format= out, or "
                          "say format=raw")
                             .c_str(),
                         Error);
  }
}

}  // namespace
}  // namespace chronovisor
