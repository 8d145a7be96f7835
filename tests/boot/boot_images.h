// Owns the making of small kernel images for the boot tests, byte by byte, so
// that a test can break any of their fields.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "vmm/boot/boot.h"
#include "vmm/memory/ram.h"

namespace chronovisor::boot_test {

inline constexpr std::uint64_t kMiB = 1ULL << 20;

template <class T>
void put(Bytes& bytes, std::size_t offset, T value) {
  if (bytes.size() < offset + sizeof(T)) bytes.resize(offset + sizeof(T), 0);
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[offset + i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

inline void put_text(Bytes& bytes, std::size_t offset, std::string_view text) {
  if (bytes.size() < offset + text.size()) bytes.resize(offset + text.size(), 0);
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}

/// Some bytes that differ from each other and from zero.
inline Bytes pattern(std::size_t size, std::uint8_t seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::uint8_t>(seed + i * 7 + i / 251) | 1;
  }
  return bytes;
}

template <class T>
T peek(const Ram& ram, std::uint64_t address) {
  std::array<std::uint8_t, sizeof(T)> raw{};
  if (ram.read({address}, raw) != raw.size()) throw std::runtime_error("not RAM");
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{raw[i]} << (8 * i);
  return static_cast<T>(value);
}

inline Bytes peek_bytes(const Ram& ram, std::uint64_t address, std::size_t size) {
  Bytes bytes(size);
  if (ram.read({address}, bytes) != size) throw std::runtime_error("not RAM");
  return bytes;
}

inline std::string peek_text(const Ram& ram, std::uint64_t address) {
  std::string text;
  while (const char c = static_cast<char>(peek<std::uint8_t>(ram, address + text.size()))) {
    text += c;
  }
  return text;
}

inline constexpr std::uint64_t kPayloadParagraphs = 0x100;  // 4 KiB

/// A bzImage of protocol 2.15 with one setup sector and a 4 KiB payload.
inline Bytes make_bzimage(std::uint64_t preferred = 16 * kMiB, std::uint32_t init_size = 0x800000) {
  Bytes image(1024, 0);
  put(image, 0x1f1, std::uint8_t{1});
  put(image, 0x1f4, std::uint32_t{kPayloadParagraphs});
  put(image, 0x1fe, std::uint16_t{0xaa55});
  put(image, 0x200, std::uint16_t{0x6aeb});  // jump to 0x26c
  put_text(image, 0x202, "HdrS");
  put(image, 0x206, std::uint16_t{0x020f});
  put(image, 0x211, std::uint8_t{1});
  put(image, 0x22c, std::uint32_t{0x7fffffff});
  put(image, 0x230, std::uint32_t{0x200000});
  put(image, 0x234, std::uint8_t{1});
  put(image, 0x236, std::uint16_t{0x3f});
  put(image, 0x238, std::uint32_t{2047});
  put(image, 0x258, preferred);
  put(image, 0x260, init_size);
  const Bytes payload = pattern(kPayloadParagraphs * 16, 3);
  image.insert(image.end(), payload.begin(), payload.end());
  return image;
}

struct ElfOptions {
  bool is_64_bit = true;
  std::uint64_t virtual_offset = 0;  ///< of virtual addresses over physical ones
  std::uint64_t physical = 0x1000000;
  std::uint64_t entry = 0x1000040;
  std::uint64_t memory_size = 0x3000;
  bool pvh_note = true;
  std::uint32_t pvh_entry = 0x1000080;
  bool multiboot_header = false;
  std::uint32_t multiboot_flags = 3;
};

inline constexpr std::size_t kElfSegmentOffset = 0x1000;
inline constexpr std::size_t kElfSegmentSize = 0x1234;
inline constexpr std::size_t kElfNoteOffset = 0x200;
inline constexpr std::size_t kMultibootHeaderOffset = 0x300;

inline void put_program_header(Bytes& image, bool is_64_bit, std::size_t index, std::uint32_t type,
                               std::uint64_t offset, std::uint64_t virtual_address,
                               std::uint64_t physical, std::uint64_t file_size,
                               std::uint64_t memory_size) {
  if (is_64_bit) {
    const std::size_t at = 64 + 56 * index;
    put(image, at, type);
    put(image, at + 8, offset);
    put(image, at + 16, virtual_address);
    put(image, at + 24, physical);
    put(image, at + 32, file_size);
    put(image, at + 40, memory_size);
    put(image, at + 48, std::uint64_t{4});
  } else {
    const std::size_t at = 52 + 32 * index;
    put(image, at, type);
    put(image, at + 4, static_cast<std::uint32_t>(offset));
    put(image, at + 8, static_cast<std::uint32_t>(virtual_address));
    put(image, at + 12, static_cast<std::uint32_t>(physical));
    put(image, at + 16, static_cast<std::uint32_t>(file_size));
    put(image, at + 20, static_cast<std::uint32_t>(memory_size));
    put(image, at + 28, std::uint32_t{4});
  }
}

/// An executable with one segment and one note.
inline Bytes make_elf(const ElfOptions& options = {}) {
  const bool wide = options.is_64_bit;
  Bytes image(kElfSegmentOffset, 0);
  put_text(image, 0,
           "\x7f"
           "ELF");
  put(image, 4, std::uint8_t{wide ? std::uint8_t{2} : std::uint8_t{1}});
  put(image, 5, std::uint8_t{1});
  put(image, 16, std::uint16_t{2});
  put(image, 18, std::uint16_t{wide ? std::uint16_t{62} : std::uint16_t{3}});
  if (wide) {
    put(image, 24, options.entry);
    put(image, 32, std::uint64_t{64});
    put(image, 54, std::uint16_t{56});
    put(image, 56, std::uint16_t{2});
  } else {
    put(image, 24, static_cast<std::uint32_t>(options.entry));
    put(image, 28, std::uint32_t{52});
    put(image, 42, std::uint16_t{32});
    put(image, 44, std::uint16_t{2});
  }
  put_program_header(image, wide, 0, 1, kElfSegmentOffset,
                     options.physical + options.virtual_offset, options.physical, kElfSegmentSize,
                     options.memory_size);
  put_program_header(image, wide, 1, 4, kElfNoteOffset, 0, 0, 40, 40);
  // A note of somebody else's, then the PVH one.
  put(image, kElfNoteOffset, std::uint32_t{4});
  put(image, kElfNoteOffset + 4, std::uint32_t{1});
  put(image, kElfNoteOffset + 8, std::uint32_t{18});
  put_text(image, kElfNoteOffset + 12, "GNU");
  put(image, kElfNoteOffset + 20, std::uint32_t{4});
  put(image, kElfNoteOffset + 24, std::uint32_t{4});
  put(image, kElfNoteOffset + 28, std::uint32_t{options.pvh_note ? 18U : 17U});
  put_text(image, kElfNoteOffset + 32, "Xen");
  put(image, kElfNoteOffset + 36, options.pvh_entry);
  if (options.multiboot_header) {
    put(image, kMultibootHeaderOffset, std::uint32_t{0x1badb002});
    put(image, kMultibootHeaderOffset + 4, options.multiboot_flags);
    put(image, kMultibootHeaderOffset + 8, 0U - (0x1badb002U + options.multiboot_flags));
  }
  const Bytes segment = pattern(kElfSegmentSize, 9);
  image.insert(image.end(), segment.begin(), segment.end());
  return image;
}

inline BootRequest request_of(BootKind kind, const Bytes& kernel) {
  BootRequest request;
  request.kind = kind;
  request.kernel_name = "image";
  request.kernel = kernel;
  return request;
}

/// The message of the Error{bad_input} that loading throws; "" if it loads. Any
/// other exception escapes.
inline std::string failure(const BootRequest& request, std::uint64_t memory = 64 * kMiB) {
  Ram ram(memory);
  try {
    static_cast<void>(load_guest(ram, request));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace chronovisor::boot_test
