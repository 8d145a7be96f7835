#include "inspect/elf_file.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::size_t kLongestText = 4096;
constexpr std::uint32_t kSectionNoBits = 8;
constexpr std::uint64_t kFlagCompressed = 0x800;

}  // namespace

ElfFile::ElfFile(ByteView file, const std::string& name) : file_(file), name_(name) {
  constexpr std::array<std::uint8_t, 4> kMagic{0x7f, 'E', 'L', 'F'};
  if (file.size() < 52 || !std::equal(kMagic.begin(), kMagic.end(), file.begin())) {
    refuse("is no ELF file");
  }
  wide_ = file[4] == 2;
  if ((file[4] != 1 && !wide_) || file[5] != 1) refuse("is an ELF file of another machine");
  read_sections();
}

void ElfFile::read_sections() {
  const std::uint64_t table = word(wide_ ? 0x28 : 0x20);
  const std::uint64_t entry = number(wide_ ? 0x3a : 0x2e, 2);
  const std::uint64_t count = number(wide_ ? 0x3c : 0x30, 2);
  if (count != 0 && entry < (wide_ ? 64U : 40U)) refuse("has a section table that cannot be");
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t at = table + n * entry;
    Section section;
    section.name = static_cast<std::uint32_t>(number(at, 4));
    section.type = static_cast<std::uint32_t>(number(at + 4, 4));
    section.flags = word(at + 8);
    section.offset = word(at + (wide_ ? 0x18 : 0x10));
    section.size = word(at + (wide_ ? 0x20 : 0x14));
    section.link = static_cast<std::uint32_t>(number(at + (wide_ ? 0x28 : 0x18), 4));
    sections_.push_back(section);
  }
}

std::uint64_t ElfFile::number(std::uint64_t at, std::size_t bytes) const {
  const ByteView raw = part(at, bytes);
  std::uint64_t value = 0;
  for (std::size_t n = bytes; n-- > 0;) value = value << 8 | raw[n];
  return value;
}

ByteView ElfFile::part(std::uint64_t at, std::uint64_t bytes) const {
  if (at > file_.size() || bytes > file_.size() - at) refuse("is cut short");
  return file_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(bytes));
}

ByteView ElfFile::section(const char* name) const {
  const std::uint64_t names = number(wide_ ? 0x3e : 0x32, 2);
  if (names >= sections_.size()) return {};
  const Section& texts = sections_[static_cast<std::size_t>(names)];
  if (texts.type == kSectionNoBits) return {};
  const ByteView all = part(texts.offset, texts.size);
  for (const Section& one : sections_) {
    if (text_in(all, one.name) != name) continue;
    if (one.type == kSectionNoBits || (one.flags & kFlagCompressed) != 0) return {};
    return part(one.offset, one.size);
  }
  return {};
}

void ElfFile::refuse(const char* why) const {
  throw Error(ErrorCode::bad_input, name_ + ": " + why);
}

std::string text_in(ByteView bytes, std::uint64_t at) {
  std::string text;
  for (;
       at < bytes.size() && bytes[static_cast<std::size_t>(at)] != 0 && text.size() < kLongestText;
       ++at) {
    text += static_cast<char>(bytes[static_cast<std::size_t>(at)]);
  }
  return text;
}

}  // namespace chronovisor
