#include "vmm/boot/image.h"

#include "base/error.h"

namespace chronovisor {

std::optional<std::uint32_t> Image::peek32(std::uint64_t offset) const {
  if (!contains(offset, 4)) return std::nullopt;
  return at<std::uint32_t>(offset, "word");
}

bool Image::matches(std::uint64_t offset, std::string_view text) const {
  return contains(offset, text.size()) &&
         std::memcmp(bytes_.data() + offset, text.data(), text.size()) == 0;
}

ByteView Image::slice(std::uint64_t offset, std::uint64_t size, std::string_view what) const {
  if (!contains(offset, size)) {
    fail("truncated or corrupt: " + std::string(what) + " takes " + std::to_string(size) +
         " bytes at " + hex_text(offset) + ", but the file has " + std::to_string(bytes_.size()) +
         " bytes; fetch or build it again");
  }
  return bytes_.subspan(offset, size);
}

void Image::fail(std::string_view reason) const {
  throw Error(ErrorCode::bad_input, name_ + ": " + std::string(reason));
}

void check_text(const Image& image, const std::string& text, std::string_view what) {
  constexpr std::size_t kMaximumText = 0x10000;
  if (text.size() > kMaximumText) {
    image.fail(std::string(what) + " has " + std::to_string(text.size()) +
               " bytes, at most 65536 can be given; shorten it");
  }
}

namespace {

struct Signature {
  std::uint64_t offset;
  std::string_view magic;
  std::string_view description;
};

using namespace std::string_view_literals;

constexpr Signature kSignatures[] = {
    {0, "\x1f\x8b"sv, "is compressed with gzip; unpack it first (gunzip)"},
    {0, "\xfd\x37zXZ\0"sv, "is compressed with xz; unpack it first (unxz)"},
    {0, "\x28\xb5\x2f\xfd"sv, "is compressed with zstd; unpack it first (unzstd)"},
    {0, "BZh"sv, "is compressed with bzip2; unpack it first (bunzip2)"},
    {0, "\x04\x22\x4d\x18"sv, "is compressed with lz4; unpack it first (unlz4)"},
    {0, "\x02\x21\x4c\x18"sv, "is compressed with lz4; unpack it first (unlz4)"},
    {0, "\x5d\0\0"sv, "is compressed with lzma; unpack it first (unlzma)"},
    {0, "070701"sv, "is a cpio archive, an initramfs; give it with --initrd"},
    {0, "070702"sv, "is a cpio archive, an initramfs; give it with --initrd"},
    {0, "QFI\xfb"sv, "is a qcow2 disk image; give the kernel inside it"},
    {0, "!<arch>\n"sv,
     "is an archive (a Debian package or a static library); give the kernel inside"},
    {0x8001, "CD001"sv, "is a CD image; give the kernel inside it"},
    {56, "ARM\x64"sv, "is a kernel for arm64; this machine is an x86-64"},
    {0,
     "\x7f"
     "ELF"sv,
     "is an ELF file; give it with --kernel or --multiboot"},
    {514, "HdrS"sv, "is a Linux bzImage; give it with --kernel"},
    {0, "MZ"sv,
     "is a PE/EFI program, and this machine has no EFI firmware; give the bzImage (for a unified "
     "kernel image: objcopy -O binary --only-section=.linux)"},
    {0, "#!"sv, "is a script"},
    {510, "\x55\xaa"sv, "is a boot sector or disk image; give it with --flat"},
};

}  // namespace

std::optional<std::string> describe_mistaken_file(const Image& image) {
  if (image.size() == 0) return "is empty";
  for (const Signature& signature : kSignatures) {
    if (image.matches(signature.offset, signature.magic)) return std::string(signature.description);
  }
  return std::nullopt;
}

}  // namespace chronovisor
