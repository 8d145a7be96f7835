#include "host/disk_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "host/nbd_image.h"

namespace chronovisor {
namespace {

constexpr std::string_view kNbdPrefix = "nbd:unix:";

[[noreturn]] void fail(const std::string& path, const std::string& operation) {
  throw Error(ErrorCode::bad_input,
              path + ": cannot " + operation + ": " + std::string(std::strerror(errno)));
}

/// A file or block device that holds the bytes as they are.
class RawImage final : public DiskImage {
 public:
  explicit RawImage(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail(path, "open");
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) close_and_fail(path, "look at");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
      ::close(descriptor_);
      throw Error(ErrorCode::bad_input, path + ": is neither a file nor a block device");
    }
    const off_t end = ::lseek(descriptor_, 0, SEEK_END);
    if (end < 0) close_and_fail(path, "find the end of");
    size_bytes_ = static_cast<std::uint64_t>(end);
  }
  ~RawImage() override { ::close(descriptor_); }
  RawImage(const RawImage&) = delete;
  RawImage& operator=(const RawImage&) = delete;

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;  // also when the file has become shorter
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return true;
  }

 private:
  [[noreturn]] void close_and_fail(const std::string& path, const std::string& operation) {
    const int error_number = errno;
    ::close(descriptor_);
    errno = error_number;
    fail(path, operation);
  }

  int descriptor_;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace

bool is_nbd_address(const std::string& path) { return path.starts_with(kNbdPrefix); }

std::string probe_disk_format(const std::string& path) {
  RawImage image(path);
  std::array<std::uint8_t, 68> start{};
  const auto count =
      static_cast<std::size_t>(std::min<std::uint64_t>(image.size_bytes(), start.size()));
  if (!image.read(0, std::span(start).first(count))) return "raw";
  const auto begins = [&](std::string_view magic, std::size_t at = 0) {
    return std::equal(magic.begin(), magic.end(), start.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
  };
  if (begins("QFI\xfb")) return "qcow2";
  if (begins("KDMV") || begins("# Disk DescriptorFile")) return "vmdk";
  if (begins("vhdxfile")) return "vhdx";
  if (begins("\x7f\x10\xda\xbe", 64)) return "vdi";
  return "raw";
}

std::unique_ptr<DiskImage> open_disk_image(const std::string& path, const std::string& format) {
  if (is_nbd_address(path)) {
    std::string socket = path.substr(kNbdPrefix.size());
    std::string name;
    constexpr std::string_view kName = ":exportname=";
    if (const std::size_t at = socket.find(kName); at != std::string::npos) {
      name = socket.substr(at + kName.size());
      socket.resize(at);
    }
    return connect_nbd(socket, name, path);
  }
  if (format == "raw") return std::make_unique<RawImage>(path);
  static constexpr std::array<std::string_view, 4> kBeginsWithItsName{"qcow2", "vmdk", "vdi",
                                                                      "vhdx"};
  if (std::ranges::find(kBeginsWithItsName, format) != kBeginsWithItsName.end()) {
    if (const std::string found = probe_disk_format(path); found != format) {
      throw Error(ErrorCode::bad_input, path + ": was given as " + format +
                                            ", but its first bytes are those of a " + found +
                                            " image; leave format= out, or say format=" + found);
    }
  }
  return serve_nbd(path, format);
}

std::uint32_t HostMedia::add(std::unique_ptr<DiskImage> image, std::string name) {
  images_.push_back({std::move(image), std::move(name)});
  return static_cast<std::uint32_t>(images_.size() - 1);
}

void HostMedia::begin_at(std::uint32_t first) {
  if (images_.size() < first) images_.resize(first);
}

DiskImage* HostMedia::image(std::uint32_t medium) {
  return medium < images_.size() ? images_[medium].image.get() : nullptr;
}

bool HostMedia::read_block(std::uint32_t medium, std::uint64_t block, Block out) {
  DiskImage* const from = image(medium);
  if (from == nullptr) return false;
  const std::uint64_t offset = block * kMediumBlockBytes;
  const std::uint64_t size = from->size_bytes();
  const auto count =
      static_cast<std::size_t>(std::min<std::uint64_t>(size - std::min(size, offset), out.size()));
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (count == 0 || from->read(offset, std::span<std::uint8_t>(out).first(count))) return true;
  Image& failed = images_[medium];
  if (tell_ && !std::exchange(failed.told, true)) {
    tell_(failed.name + ": byte " + std::to_string(offset) +
          " and what follows cannot be read, or are there no more: an I/O error for the guest");
  }
  return false;
}

}  // namespace chronovisor
