// Owns the reading of untrusted ELF32 and ELF64 kernel files: headers, loadable
// segments, notes. Knows no boot protocol. Values; any thread.
// Source: System V ABI, "Object Files" and "Program Loading".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"

namespace chronovisor {

/// One program header, whatever the class of the file.
struct ElfSegment {
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
  std::uint64_t virtual_address = 0;
  std::uint64_t physical_address = 0;
  std::uint64_t file_size = 0;
  std::uint64_t memory_size = 0;
  std::uint64_t alignment = 0;
};

struct ElfFile {
  static constexpr std::uint32_t kLoad = 1;
  static constexpr std::uint32_t kNote = 4;

  bool is_64_bit = false;
  std::uint64_t entry = 0;
  std::vector<ElfSegment> segments;       ///< PT_LOAD with a size in memory, and PT_NOTE
  std::vector<ElfSegment> note_sections;  ///< SHT_NOTE: offset, file_size and alignment
};

bool is_elf(const Image& image);

/// Reads and checks the headers of an executable for x86. Every segment's bytes
/// are in the file. Error{bad_input} for anything else, by name.
ElfFile parse_elf(const Image& image);

/// Copies the PT_LOAD segments to their physical addresses and clears the rest
/// of each.
void load_elf_segments(MemoryPlan& plan, const Image& image, const ElfFile& elf);

/// The value, of 4 or 8 bytes, of the first such note with one; nothing if there is
/// none. Notes are read as each of the ways in which linkers pad them has it.
std::optional<std::uint64_t> find_elf_note(const Image& image, const ElfFile& elf,
                                           std::string_view owner, std::uint32_t type);

/// True when a loaded segment has the physical address.
bool is_loaded_at(const ElfFile& elf, std::uint64_t physical_address);

/// The physical address of the entry: e_entry through the segment whose virtual
/// addresses hold it, or as it stands if a segment is loaded there.
/// Error{bad_input} if neither.
std::uint64_t physical_entry(const Image& image, const ElfFile& elf);

}  // namespace chronovisor
