#include "vmm/boot/elf.h"

#include <algorithm>
#include <array>

#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint8_t kClass32 = 1;
constexpr std::uint8_t kClass64 = 2;
constexpr std::uint8_t kLittleEndian = 1;
constexpr std::uint16_t kRelocatableType = 1;
constexpr std::uint16_t kExecutableType = 2;
constexpr std::uint16_t kSharedType = 3;
constexpr std::uint16_t kCoreType = 4;
constexpr std::uint16_t kMachine386 = 3;
constexpr std::uint16_t kMachineX86_64 = 62;
constexpr std::size_t kMaximumSegments = 256;

/// Refuses what is not an executable for x86.
void check_identity(const Image& image) {
  const auto file_class = image.at<std::uint8_t>(4, "the ELF class");
  if (file_class != kClass32 && file_class != kClass64) {
    image.fail("ELF class " + std::to_string(file_class) +
               " at 0x4 is neither 32 nor 64 bit; "
               "the file is corrupt: fetch or build it again");
  }
  if (image.at<std::uint8_t>(5, "the ELF byte order") != kLittleEndian) {
    image.fail("is a big-endian ELF file (byte order at 0x5); this machine is an x86-64");
  }
  const auto type = image.at<std::uint16_t>(16, "e_type");
  if (type == kRelocatableType) {
    image.fail("is an object file or kernel module (e_type at 0x10); link it into an executable");
  }
  if (type == kCoreType) image.fail("is a core dump (e_type at 0x10); give the kernel itself");
  if (type != kExecutableType && type != kSharedType) {
    image.fail("e_type " + std::to_string(type) +
               " at 0x10 is not an executable; the file is "
               "corrupt: fetch or build it again");
  }
  const auto machine = image.at<std::uint16_t>(18, "e_machine");
  if (machine != kMachine386 && machine != kMachineX86_64) {
    image.fail("is for another processor (e_machine " + std::to_string(machine) +
               " at 0x12); this machine is an x86-64");
  }
}

ElfSegment read_segment(const Image& image, std::uint64_t at, bool is_64_bit) {
  constexpr std::string_view kWhat = "a program header";
  const auto word = [&](std::uint64_t offset) -> std::uint64_t {
    return image.at<std::uint32_t>(at + offset, kWhat);
  };
  const auto address = [&](std::uint64_t offset) {
    return image.at<std::uint64_t>(at + offset, kWhat);
  };
  ElfSegment segment;
  segment.type = static_cast<std::uint32_t>(word(0));
  segment.offset = is_64_bit ? address(8) : word(4);
  segment.virtual_address = is_64_bit ? address(16) : word(8);
  segment.physical_address = is_64_bit ? address(24) : word(12);
  segment.file_size = is_64_bit ? address(32) : word(16);
  segment.memory_size = is_64_bit ? address(40) : word(20);
  segment.alignment = is_64_bit ? address(48) : word(28);
  return segment;
}

/// Checks a segment that will be used.
void check_segment(const Image& image, const ElfSegment& segment, std::size_t index) {
  const std::string what = "segment " + std::to_string(index);
  static_cast<void>(image.slice(segment.offset, segment.file_size, what));
  if (segment.type != ElfFile::kLoad) return;
  if (segment.file_size > segment.memory_size) {
    image.fail(what + " has " + std::to_string(segment.file_size) + " bytes in the file but " +
               std::to_string(segment.memory_size) +
               " in memory; the file is corrupt: fetch or build it again");
  }
  if (segment.virtual_address + segment.memory_size < segment.virtual_address ||
      segment.physical_address + segment.memory_size < segment.physical_address) {
    image.fail(what + " of " + std::to_string(segment.memory_size) + " bytes at " +
               hex_text(segment.physical_address) +
               " wraps around the end of the address space; the file is corrupt: fetch or build "
               "it again");
  }
}

/// GNU ld puts the ELF headers into a segment of their own on the page before
/// the first section, which for a kernel linked at 1 MiB is firmware's page.
/// Nobody reads it there.
bool is_stray_header_page(const ElfSegment& segment, std::uint64_t headers_end) {
  return segment.offset == 0 && segment.file_size == segment.memory_size &&
         segment.file_size <= headers_end && segment.physical_address >= platform::kFirmwareBegin &&
         segment.physical_address < platform::kFirmwareEnd;
}

bool holds(std::uint64_t begin, std::uint64_t size, std::uint64_t address) {
  return address >= begin && address - begin < size;
}

/// Multiples of how many bytes the parts of a note take.
struct NotePadding {
  std::uint64_t value_begin;  ///< header and name together
  std::uint64_t note_end;     ///< a whole note
};

/// The ways to read notes, the one that the alignment asks for first. The ABI pads
/// 64-bit files to 8; most linkers pad to 4 whatever the alignment says, and some
/// loaders pad the name to 4 and the value to the alignment.
std::array<NotePadding, 3> paddings_for(std::uint64_t alignment) {
  if (alignment == 8) return {{{8, 8}, {4, 8}, {4, 4}}};
  return {{{4, 4}, {8, 8}, {4, 8}}};
}

std::optional<std::uint64_t> find_note(const Image& notes, const NotePadding& padding,
                                       std::string_view owner, std::uint32_t type) {
  const auto padded = [](std::uint64_t size, std::uint64_t multiple) {
    return (size + multiple - 1) / multiple * multiple;
  };
  std::uint64_t at = 0;
  while (notes.contains(at, 12)) {
    const std::uint64_t name_size = *notes.peek32(at);
    const std::uint64_t value_size = *notes.peek32(at + 4);
    const std::uint64_t value_at = at + padded(12 + name_size, padding.value_begin);
    if (!notes.contains(value_at, value_size)) break;
    const bool named = notes.matches(at + 12, owner) &&
                       (name_size == owner.size() || (name_size == owner.size() + 1 &&
                                                      notes.bytes()[at + 12 + owner.size()] == 0));
    if (named && *notes.peek32(at + 8) == type) {
      if (value_size == 4) return notes.at<std::uint32_t>(value_at, "a note");
      if (value_size == 8) return notes.at<std::uint64_t>(value_at, "a note");
    }
    at = padded(value_at + value_size, padding.note_end);
  }
  return std::nullopt;
}

/// The SHT_NOTE sections. A stripped file has none, and a damaged table is none:
/// the segments are what counts.
void add_note_sections(const Image& image, ElfFile& elf) {
  constexpr std::uint32_t kNoteSection = 7;
  const bool wide = elf.is_64_bit;
  const std::uint64_t table =
      wide ? image.at<std::uint64_t>(40, "e_shoff") : image.at<std::uint32_t>(32, "e_shoff");
  const std::uint64_t entry_size = image.at<std::uint16_t>(wide ? 58 : 46, "e_shentsize");
  const std::uint64_t count = image.at<std::uint16_t>(wide ? 60 : 48, "e_shnum");
  if (table == 0 || entry_size < (wide ? 64U : 40U)) return;
  if (!image.contains(table, count * entry_size)) return;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = table + i * entry_size;
    const auto field = [&](std::uint64_t in64, std::uint64_t in32) -> std::uint64_t {
      constexpr std::string_view kWhat = "a section header";
      return wide ? image.at<std::uint64_t>(at + in64, kWhat)
                  : image.at<std::uint32_t>(at + in32, kWhat);
    };
    if (*image.peek32(at + 4) != kNoteSection) continue;
    ElfSegment section;
    section.type = ElfFile::kNote;
    section.offset = field(24, 16);
    section.file_size = field(32, 20);
    section.alignment = field(48, 32);
    if (!image.contains(section.offset, section.file_size)) continue;
    if (elf.note_sections.size() < kMaximumSegments) elf.note_sections.push_back(section);
  }
}

}  // namespace

bool is_elf(const Image& image) {
  return image.matches(0,
                       "\x7f"
                       "ELF");
}

ElfFile parse_elf(const Image& image) {
  check_identity(image);
  ElfFile elf;
  elf.is_64_bit = image.at<std::uint8_t>(4, "the ELF class") == kClass64;
  static_cast<void>(image.slice(0, elf.is_64_bit ? 64 : 52, "the ELF header"));
  elf.entry = elf.is_64_bit ? image.at<std::uint64_t>(24, "e_entry")
                            : image.at<std::uint32_t>(24, "e_entry");
  const std::uint64_t table = elf.is_64_bit ? image.at<std::uint64_t>(32, "e_phoff")
                                            : image.at<std::uint32_t>(28, "e_phoff");
  const std::uint64_t entry_size = image.at<std::uint16_t>(elf.is_64_bit ? 54 : 42, "e_phentsize");
  const std::uint64_t count = image.at<std::uint16_t>(elf.is_64_bit ? 56 : 44, "e_phnum");
  if (count == 0) image.fail("has no program headers (e_phnum), so nothing to load");
  if (entry_size < (elf.is_64_bit ? 56U : 32U)) {
    image.fail("e_phentsize " + std::to_string(entry_size) +
               " is too small for a program header; the file is corrupt: fetch or build it again");
  }
  static_cast<void>(image.slice(table, count * entry_size, "the program header table"));

  const std::uint64_t headers_end = table + count * entry_size;
  bool any_bytes = false;
  bool any_load = false;
  for (std::uint64_t i = 0; i < count; ++i) {
    const ElfSegment segment = read_segment(image, table + i * entry_size, elf.is_64_bit);
    if (segment.type == ElfFile::kLoad && segment.memory_size == 0 && segment.file_size == 0) {
      continue;
    }
    if (segment.type != ElfFile::kLoad && segment.type != ElfFile::kNote) continue;
    // A file with only debug information keeps the notes' headers without bytes.
    if (segment.type == ElfFile::kLoad || image.contains(segment.offset, segment.file_size)) {
      check_segment(image, segment, i);
      elf.segments.push_back(segment);
    }
    if (segment.type == ElfFile::kLoad) {
      any_load = true;
      any_bytes = any_bytes || segment.file_size != 0;
      if (is_stray_header_page(segment, headers_end)) elf.segments.pop_back();
    }
    if (elf.segments.size() > kMaximumSegments) {
      image.fail("has more than " + std::to_string(kMaximumSegments) +
                 " segments to load; link it into fewer");
    }
  }
  add_note_sections(image, elf);
  if (!any_load) image.fail("has no segment to load (PT_LOAD); link it as an executable");
  if (!any_bytes) {
    image.fail(
        "has segments without any bytes: a file of debug information only; give the full "
        "vmlinux");
  }
  return elf;
}

void load_elf_segments(MemoryPlan& plan, const Image& image, const ElfFile& elf) {
  for (const ElfSegment& segment : elf.segments) {
    if (segment.type != ElfFile::kLoad) continue;
    plan.claim(segment.physical_address, segment.memory_size, "a segment of the kernel");
  }
  for (const ElfSegment& segment : elf.segments) {
    if (segment.type != ElfFile::kLoad) continue;
    plan.write(segment.physical_address,
               image.slice(segment.offset, segment.file_size, "a segment of the kernel"));
    plan.clear(segment.physical_address + segment.file_size,
               segment.memory_size - segment.file_size);
  }
}

std::optional<std::uint64_t> find_elf_note(const Image& image, const ElfFile& elf,
                                           std::string_view owner, std::uint32_t type) {
  std::vector<ElfSegment> places;
  for (const ElfSegment& segment : elf.segments) {
    if (segment.type == ElfFile::kNote) places.push_back(segment);
  }
  // A segment of several sections can hold notes padded in different ways; each
  // section has its own.
  places.insert(places.end(), elf.note_sections.begin(), elf.note_sections.end());
  for (const ElfSegment& place : places) {
    const Image notes(image.name(), image.slice(place.offset, place.file_size, "the notes"));
    for (const NotePadding& padding : paddings_for(place.alignment)) {
      if (const auto value = find_note(notes, padding, owner, type)) return value;
    }
  }
  return std::nullopt;
}

bool is_loaded_at(const ElfFile& elf, std::uint64_t physical_address) {
  return std::any_of(elf.segments.begin(), elf.segments.end(), [&](const ElfSegment& segment) {
    return segment.type == ElfFile::kLoad &&
           holds(segment.physical_address, segment.memory_size, physical_address);
  });
}

std::uint64_t physical_entry(const Image& image, const ElfFile& elf) {
  for (const ElfSegment& segment : elf.segments) {
    if (segment.type == ElfFile::kLoad &&
        holds(segment.virtual_address, segment.memory_size, elf.entry)) {
      return elf.entry - segment.virtual_address + segment.physical_address;
    }
  }
  if (!is_loaded_at(elf, elf.entry)) {
    image.fail("the entry point " + hex_text(elf.entry) +
               " (e_entry at 0x18) is in no loaded segment; link it with an entry inside");
  }
  return elf.entry;
}

}  // namespace chronovisor
